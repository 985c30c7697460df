"""Parameters: set at start and at run time, and refused with reasons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from camera import TIMEOUT_S, Camera, flat
from forked import running_node
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from services import ParameterClient

from dgss_ros.client.session import call, wait_until
from dgss_ros.node.messages import to_picture
from dgss_ros.parameters.docs import page
from dgss_ros.parameters.table import PARAMETERS

pytestmark = pytest.mark.ros
CONFIG = Path(__file__).parents[3] / 'config' / 'segment.yaml'


def test_the_shipped_file_holds_every_parameter_with_its_default() -> None:
    content = yaml.safe_load(CONFIG.read_text())['/**']['ros__parameters']
    assert flatten(content) == {p.name: p.default for p in PARAMETERS}


def test_the_page_of_the_parameters_is_current() -> None:
    assert (CONFIG.parents[1] / 'docs' / 'parameters.md').read_text() == page(), (
        'run python -m dgss_ros.parameters.docs > docs/parameters.md'
    )


def flatten(tree: dict, prefix: str = '') -> dict[str, object]:
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        name = f'{prefix}{key}'
        leaves |= flatten(value, f'{name}.') if isinstance(value, dict) else {name: value}
    return leaves


def loop(folder: Path) -> Path:
    """Return a link to itself."""
    (folder / 'loop').symlink_to(folder / 'loop')
    return folder / 'loop'


def test_invalid_values_are_refused_with_reasons_and_valid_ones_are_set(
    start_node, ros: Node, probe_bundle: Path, tmp_path: Path
) -> None:
    node = start_node(bundle=probe_bundle, backend='auto')
    client = ParameterClient(ros)
    assert 'read-only' in client.set('autostart', True)
    assert 'declared' in client.set('no_such_parameter', 1)
    assert 'Max: 1.0' in client.set('overlay_opacity', 1.5)
    assert 'Max: 256' in client.set('threads', 1000)
    for name, wrong in (('threads', 'many'), ('input.roi', 5), ('bundle', 3), ('backend', 1.5)):
        assert 'type' in client.set(name, wrong)
    for path in ('~no_such_user/bundle', str(loop(tmp_path))):
        assert 'is no path' in client.set('bundle', path)
    assert 'use one of auto, onnxruntime' in client.set('backend', 'abacus')
    assert 'one of 0, 90, 180, 270' in client.set('input.rotation', 45)
    assert 'x, y, width and height' in client.set('input.roi', [1, 2, 3])
    assert client.set('threads', 1) == ''
    assert client.get('threads') == 1
    node.lifecycle.configure()
    for name, value in (('workers', 2), ('threads', 2), ('backend', 'onnxruntime')):
        assert 'can only be set while the node is unconfigured' in client.set(name, value)
    assert client.get('bundle') == str(probe_bundle)
    assert client.set('overlay_opacity', 1.0) == ''
    node.lifecycle.cleanup()
    assert client.set('threads', 2) == ''


def test_a_request_that_makes_rclpy_raise_does_not_end_the_node(start_node, ros: Node) -> None:
    node = start_node(traceback=True)
    client = ParameterClient(ros)
    assert client.get('threads') == 0
    nonsense = ParameterMessage(name='threads', value=ParameterValue(type=99))
    ros.create_client(SetParameters, '/dgss/set_parameters').call_async(
        SetParameters.Request(parameters=[nonsense])
    )
    assert wait_until(lambda: '99 is not a valid' in node.log, TIMEOUT_S)
    assert client.set('threads', 1) == ''
    assert client.get('threads') == 1


def test_every_parameter_is_described(start_node, ros: Node) -> None:
    start_node()
    names = [parameter.name for parameter in PARAMETERS]
    client = ros.create_client(DescribeParameters, '/dgss/describe_parameters')
    request = DescribeParameters.Request(names=names)
    descriptors = call(client, request, TIMEOUT_S).descriptors
    found = {descriptor.name: descriptor for descriptor in descriptors}
    assert list(found) == names
    assert all('Can be set' in descriptor.description for descriptor in descriptors)
    assert found['autostart'].read_only
    assert not found['bundle'].read_only
    assert found['threads'].integer_range[0].to_value == 256
    assert found['overlay_opacity'].floating_point_range[0].to_value == 1.0
    assert found['output.size'].additional_constraints == 'one of input, network'
    assert found['overlay_opacity'].type == ParameterType.PARAMETER_DOUBLE


def test_a_whole_number_is_a_double_where_one_is_expected(
    start_node, ros: Node, tmp_path: Path
) -> None:
    file = tmp_path / 'mine.yaml'
    file.write_text('/dgss:\n  ros__parameters:\n    input: {max_rate: 15}\n')
    options = '--params-file', str(file), '-p', 'input.max_age_ms:=200'
    start_node(*options, bond_heartbeat_period=1)
    client = ParameterClient(ros)

    def found(name: str) -> tuple[type, object]:
        return type(client.get(name)), client.get(name)

    assert found('input.max_rate') == (float, 15.0)
    assert found('input.max_age_ms') == (float, 200.0)
    assert found('bond_heartbeat_period') == (float, 1.0)
    assert client.set('overlay_opacity', 1) == ''
    assert found('overlay_opacity') == (float, 1.0)
    assert 'Max: 1.0' in client.set('overlay_opacity', 2)
    assert 'type' in client.set('overlay_opacity', True)
    service = ros.create_client(SetParametersAtomically, '/dgss/set_parameters_atomically')
    message = Parameter('input.max_rate', value=5).to_parameter_msg()
    request = SetParametersAtomically.Request(parameters=[message])
    assert call(service, request, TIMEOUT_S).result.successful
    assert found('input.max_rate') == (float, 5.0)


def test_opacity_takes_effect_at_once(
    start_node, ros: Node, probe_bundle: Path, camera: Camera
) -> None:
    start_node(bundle=probe_bundle, autostart=True)
    camera.subscribe('overlay')
    camera.connect()
    client = ParameterClient(ros)
    image = flat(100, 50)
    for opacity, expected in ((0.0, [100, 50, 0]), (1.0, [250, 170, 30])):
        assert client.set('overlay_opacity', opacity) == ''
        painted = to_picture(camera.answer(image)['overlay']).rgb
        assert np.unique(painted.reshape(-1, 3), axis=0).tolist() == [expected]


def test_command_line_and_file_set_the_parameters(
    start_node, ros: Node, probe_bundle: Path, tmp_path: Path
) -> None:
    """The launch file passes a file, overrides, a namespace and the image topic."""
    file = tmp_path / 'mine.yaml'
    file.write_text(f'/**:\n  ros__parameters:\n    bundle: {probe_bundle}\n    threads: 1\n')
    node = start_node(
        *('-r', '__ns:=/front', '-r', '~/image:=/camera/image_raw'),
        *('--params-file', str(CONFIG), '--params-file', str(file), '--log-level', 'info'),
        autostart=True,
    )
    camera = Camera(ros, '/camera/image_raw', '/front/dgss')
    camera.subscribe('mask')
    camera.connect()
    assert 'Takes images from /camera/image_raw' in node.log
    assert 'Runs probe@' in node.log


def test_qos_can_be_overridden(start_node, ros: Node, probe_bundle: Path, camera: Camera) -> None:
    start_node(
        *('-p', 'qos_overrides./dgss/mask.publisher.reliability:=best_effort'),
        *('-p', 'qos_overrides./dgss/image.subscription.reliability:=reliable'),
        bundle=probe_bundle,
        autostart=True,
    )

    def reliability(infos: list) -> list[str]:
        return [info.qos_profile.reliability.name for info in infos]

    assert wait_until(lambda: bool(ros.get_publishers_info_by_topic('/dgss/mask')), TIMEOUT_S)
    assert reliability(ros.get_publishers_info_by_topic('/dgss/mask')) == ['BEST_EFFORT']
    assert wait_until(lambda: bool(ros.get_subscriptions_info_by_topic('/dgss/image')), TIMEOUT_S)
    assert reliability(ros.get_subscriptions_info_by_topic('/dgss/image')) == ['RELIABLE']
    received: list[Image] = []
    ros.create_subscription(Image, '/dgss/confidence', received.append, 5)
    assert wait_until(lambda: camera.send(flat(3)) and bool(received), TIMEOUT_S)


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--', '--frobnicate'], 'Unknown arguments'),
        (['--frobnicate'], 'frobnicate'),
        (['-p', 'overlay_opacity:=7.0'], 'out of range'),
        (['-p', 'overlay_opacity:=7'], 'out of range'),
        (['-p', 'threads:=many'], 'threads'),
        (['-p', 'input.max_rate:=0.001'], 'at least 0.01, or 0 for no limit'),
        (['-p', 'bond_heartbeat_period:=2.0'], 'out of range'),
        (['-p', 'bond_heartbeat_period:=0.001'], 'at least 0.01, or 0 for no bond'),
        (['-p', 'backend:=abacus'], 'use one of auto, onnxruntime'),
        (['-p', 'cameras:=[front, front]'], 'names one twice'),
        (['-p', 'cameras:=["a/b"]'], 'cannot name a camera'),
        (['-p', 'cameras:=[input]'], 'begins names of parameters'),
        (['--params-file', '/nowhere.yaml'], '/nowhere.yaml'),
    ],
)
def test_a_wrong_start_ends_in_one_sentence(
    tmp_path: Path, fork_server: None, arguments: list[str], sentence: str
) -> None:
    log = tmp_path / 'log'
    with running_node(*arguments, log=log, is_fresh=arguments[0] == '--') as process:
        assert process.wait(TIMEOUT_S) == 2
    assert log.read_text().startswith('dgss: error: ')
    assert sentence in log.read_text()
    assert 'Traceback' not in log.read_text()


def test_a_misspelt_parameter_is_reported(start_node, probe_bundle: Path) -> None:
    node = start_node(bundel=probe_bundle)
    assert wait_until(
        lambda: "There is no parameter 'bundel'; the nearest is bundle." in node.log, TIMEOUT_S
    )
