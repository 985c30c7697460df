"""Parameter files and overrides that have no effect are named; every parameter has a value."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from camera import TIMEOUT_S
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from services import ParameterClient

from dgss_core.errors import DgssError
from dgss_ros.client.session import call, wait_until
from dgss_ros.parameters.files import unused_files

pytestmark = pytest.mark.ros


@pytest.mark.parametrize(
    ('key', 'node', 'is_used'),
    [
        ('/**', '/car/dgss', True),
        ('/**/dgss', '/car/dgss', True),
        ('/*/dgss', '/car/dgss', True),
        ('/*/dgss', '/dgss', False),
        ('dgss', '/dgss', True),
        ('/dgss', '/dgss', True),
        ('dgss', '/car/dgss', False),
        ('/car/dgss', '/car/dgss', True),
        ('segmentation', '/dgss', False),
    ],
)
def test_a_file_for_another_node_is_found(
    tmp_path: Path, key: str, node: str, is_used: bool
) -> None:
    file = tmp_path / 'parameters.yaml'
    file.write_text(yaml.safe_dump({key: {'ros__parameters': {'threads': 1}}}))
    arguments = ['node', '--ros-args', '--params-file', str(file)]
    found = list(unused_files(node, arguments))
    assert bool(found) != is_used
    assert all(f'{file} holds nothing for {node} (it is for /' in line for line in found)


def test_nested_namespaces_are_read(tmp_path: Path) -> None:
    file = tmp_path / 'parameters.yaml'
    file.write_text('car:\n  dgss:\n    ros__parameters:\n      threads: 1\n')
    arguments = ['--params-file', str(file)]
    assert list(unused_files('/car/dgss', arguments)) == []
    assert 'it is for /car/dgss' in next(unused_files('/dgss', arguments))


def test_a_file_that_grows_without_end_is_left_to_rcl(tmp_path: Path) -> None:
    """Aliases that stand for 10^9 nested namespaces."""
    file = tmp_path / 'parameters.yaml'
    lines = ['a0: &a0 {x: 1}']
    for n in range(1, 10):
        inside = ', '.join(f'k{i}: *a{n - 1}' for i in range(10))
        lines.append(f'a{n}: &a{n} {{{inside}}}')
    file.write_text('\n'.join(lines))
    assert list(unused_files('/dgss', ['--params-file', str(file)])) == []


def test_a_name_with_control_characters_is_harmless(tmp_path: Path) -> None:
    file = tmp_path / 'parameters.yaml'
    file.write_text('"\\e[31mred": {ros__parameters: {threads: 1}}')
    (line,) = unused_files('/dgss', ['--params-file', str(file)])
    assert '\x1b' not in line


def test_a_started_node_names_a_file_for_another_one(start_node, tmp_path: Path) -> None:
    file = tmp_path / 'parameters.yaml'
    file.write_text('dgss:\n  ros__parameters:\n    autostart: true\n')
    node = start_node('-r', '__ns:=/car', '--params-file', str(file))
    sentence = f'{file} holds nothing for /car/dgss (it is for /dgss); name /car/dgss or /**'
    assert wait_until(lambda: sentence in node.log, TIMEOUT_S)


def test_a_misspelt_policy_and_a_topic_of_another_name_are_named(
    start_node, probe_bundle: Path
) -> None:
    topic = 'qos_overrides./camera/image_raw.subscription'
    image = ('-r', '~/image:=/camera/image_raw')
    node = start_node(*image, '-p', f'{topic}.reliabilty:=reliable', bundle=probe_bundle)
    with pytest.raises(DgssError, match=r'reliabilty is no policy; use one of reliability'):
        node.lifecycle.configure()
    node.end(2)
    other = 'qos_overrides./dgss/image.subscription.reliability:=reliable'
    node = start_node(
        *image, '-p', f'{topic}.depth:=2', '-p', other, bundle=probe_bundle, autostart=True
    )
    sentence = 'qos_overrides./dgss/image has no effect: there is no such topic here'
    assert wait_until(lambda: sentence in node.log, TIMEOUT_S)
    assert 'images come from /camera/image_raw.' in node.log
    assert node.log.count('has no effect') == 1


def values_of(ros: Node, names: list[str]) -> list:
    client = ros.create_client(GetParameters, '/dgss/get_parameters')
    return call(client, GetParameters.Request(names=names), TIMEOUT_S).values


def test_every_parameter_has_a_value_and_a_dump_starts_a_node(
    start_node, ros: Node, probe_bundle: Path, tmp_path: Path
) -> None:
    node = start_node('-p', 'cameras:=[front, rear]', '-p', 'rear.rotation:=90', threads=1)
    listed = ros.create_client(ListParameters, '/dgss/list_parameters')
    names = list(call(listed, ListParameters.Request(), TIMEOUT_S).result.names)
    values = values_of(ros, names)
    assert len(values) == len(names)
    assert all(value.type != Parameter.Type.NOT_SET.value for value in values)
    tree = {
        name: Parameter.from_parameter_msg(message(name, value)).value
        for name, value in zip(names, values, strict=True)
    }
    plain = {name: list(v) if hasattr(v, 'typecode') else v for name, v in tree.items()}
    assert (plain['front.rotation'], plain['rear.rotation'], plain['front.roi']) == (-1, 90, [])
    node.end(2)
    file = tmp_path / 'dump.yaml'
    file.write_text(yaml.safe_dump({'/dgss': {'ros__parameters': plain}}))
    node = start_node('--params-file', str(file), bundle=probe_bundle)
    node.lifecycle.configure()
    again = values_of(ros, ['cameras', 'rear.rotation', 'threads', 'bundle_folders', 'input.roi'])
    assert list(again[0].string_array_value) == ['front', 'rear']
    assert [value.integer_value for value in again[1:3]] == [90, 1]


def test_an_empty_list_keeps_its_type_and_its_description(start_node, ros: Node) -> None:
    start_node()
    names = ['cameras', 'bundle_folders', 'input.roi']
    kinds = [value.type for value in values_of(ros, names)]
    texts, numbers = Parameter.Type.STRING_ARRAY, Parameter.Type.INTEGER_ARRAY
    assert kinds == [texts.value, texts.value, numbers.value]
    client = ros.create_client(DescribeParameters, '/dgss/describe_parameters')
    descriptors = call(client, DescribeParameters.Request(names=names), TIMEOUT_S).descriptors
    assert [descriptor.type for descriptor in descriptors] == kinds
    assert [descriptor.read_only for descriptor in descriptors] == [True, True, False]
    parameters = ParameterClient(ros)
    assert 'read-only' in parameters.set('cameras', ['front'])
    assert parameters.set('input.roi', [0, 0, 8, 8]) == ''


def message(name: str, value: object):
    from rcl_interfaces.msg import Parameter as ParameterMessage

    return ParameterMessage(name=name, value=value)
