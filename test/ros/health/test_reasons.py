"""`/diagnostics` and the log give the reason and the remedy where images do not become masks."""

from __future__ import annotations

from pathlib import Path

import pytest
from builtin_interfaces.msg import Time
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from services import ParameterClient
from std_msgs.msg import Header
from streams import images_at

from dgss_ros.client.session import wait_until
from dgss_ros.node.messages import to_image
from dgss_ros.parameters.values import reliability_override

pytestmark = pytest.mark.ros
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def test_simulated_time_without_a_clock_is_reported(
    start_node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    options = ('-p', 'input.max_age_ms:=200.0', '-p', 'use_sim_time:=true')
    start_node(*options, bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    with images_at(camera, 10.0):
        diagnostics.wait(
            'frames', lambda s, _: s.level == WARN and 'no time was heard on /clock' in s.message
        )


def test_a_camera_whose_clock_is_ahead_is_reported(
    start_node, ros: Node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    start_node('-p', 'input.max_age_ms:=200.0', bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    stamp = Time(sec=ros.get_clock().now().seconds_nanoseconds()[0] + 3600)

    def reported() -> bool:
        camera.publish(to_image(Header(stamp=stamp), flat(1), 'rgb8'))
        status = diagnostics.status.get('dgss: frames')
        return status is not None and "s ahead of the node's clock" in status.message

    assert wait_until(reported, TIMEOUT_S)
    assert diagnostics.status['dgss: frames'].level == WARN


def test_a_slow_rate_is_no_silence_of_the_camera(
    start_node, ros: Node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    start_node(bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    assert ParameterClient(ros).set('input.max_rate', 0.02) == ''
    with images_at(camera, 10.0):
        diagnostics.wait(
            'frames',
            lambda s, _: (
                s.level == ERROR
                and s.message.endswith('images were skipped: input.max_rate is 0.02')
            ),
        )


def test_images_that_are_lost_on_the_way_are_reported(
    start_node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    """The stamps are those of a steady camera of which two in three images arrive."""
    start_node(bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    for number in range(60):
        camera.answer(flat(number))
        if number % 2:
            camera.header()
    values = diagnostics.wait(
        'frames',
        lambda s, _: (
            s.level == WARN
            and 'of the images on /dgss/image are lost on the way' in s.message
            and 'its publisher is reliable: set input.reliability to auto' in s.message
            and 'docs/deploy.md, Transport' in s.message
        ),
    )
    assert 0.3 < float(values['lost_share']) < 0.4
    for number in range(60):
        camera.answer(flat(number))
    with images_at(camera, 20.0):
        diagnostics.wait('frames', lambda s, _: s.level == OK)


@pytest.mark.parametrize(
    ('stamps', 'reason'),
    [([0], 'have no stamp'), ([5 * 10**9], 'repeat one stamp')],
)
def test_images_without_a_stamp_of_their_own_are_reported(
    start_node,
    probe_bundle: Path,
    camera: Camera,
    diagnostics: DiagnosticsReader,
    stamps: list[int],
    reason: str,
) -> None:
    start_node(bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    (stamp,) = stamps
    header = Header(stamp=Time(sec=stamp // 10**9))

    def said() -> bool:
        camera.publish(to_image(header, flat(1), 'rgb8'))
        status = diagnostics.status.get('dgss: frames')
        sentence = f'the last images on /dgss/image {reason}'
        return status is not None and status.level == WARN and sentence in status.message

    assert wait_until(said, TIMEOUT_S), diagnostics.status.get('dgss: frames')
    with images_at(camera, 20.0):
        diagnostics.wait('frames', lambda s, _: s.level == OK)


def test_parameters_and_files_that_fit_nothing_are_reported(
    start_node, probe_bundle: Path, diagnostics: DiagnosticsReader, tmp_path: Path
) -> None:
    file = tmp_path / 'other.yaml'
    file.write_text('rear_dgss:\n  ros__parameters:\n    workers: 2\n')
    override = '-p', 'qos_overrides./eye/image.subscription.depth:=1'
    image = '-p', 'qos_overrides./dgss/image.subscription.reliability:=reliable'
    auto = '-p', 'input.reliability:=auto'
    start_node(
        *('--params-file', str(file), '-p', 'input.roy:=1', *override, *image, *auto),
        bundle=probe_bundle,
        autostart=True,
    )
    values = diagnostics.wait('parameters', lambda s, v: s.level == WARN and len(v) == 4)
    assert 'holds nothing for /dgss' in values['1']
    assert values['2'] == "There is no parameter 'input.roy'; the nearest is input.roi."
    assert 'qos_overrides./eye/image has no effect' in values['3']
    assert 'input.reliability has no effect on /dgss/image' in values['4']


def test_an_override_is_reported_while_it_makes_auto_have_no_effect(
    start_node, ros: Node, probe_bundle: Path, diagnostics: DiagnosticsReader
) -> None:
    override = '-p', f'{reliability_override("/dgss/image")}:=reliable'
    node = start_node(*override, '-p', 'input.roy:=1', bundle=probe_bundle)
    sentence = 'input.reliability has no effect on /dgss/image'
    parameters = ParameterClient(ros)
    for reliability, found in (('auto', 2), ('auto', 2), ('best_effort', 1), ('auto', 2)):
        assert parameters.set('input.reliability', reliability) == ''
        node.lifecycle.configure()
        node.lifecycle.activate()
        diagnostics.status.clear()
        values = diagnostics.wait('parameters', lambda s, _: s.level == WARN)
        assert len(values) == found
        assert ('2' in values and sentence in values['2']) == (reliability == 'auto')
        node.lifecycle.deactivate()
        node.lifecycle.cleanup()
    # The log tells what is new on an activation.
    assert node.log.count(sentence) == 2
    assert node.log.count('There is no parameter') == 1


@pytest.mark.parametrize(
    ('remap', 'transport', 'published', 'kind', 'sentence'),
    [
        (
            '/eye/image/compressed',
            'compressed',
            '/eye/image/compressed',
            CompressedImage,
            'Nobody publishes /eye/image/compressed/compressed, but there is '
            '/eye/image/compressed: remap ~/image to /eye/image',
        ),
        (
            '/eye/image',
            'raw',
            '/eye/image/compressed',
            CompressedImage,
            'there is /eye/image/compressed: set image_transport to compressed',
        ),
        (
            '/eye/image',
            'compressed',
            '/eye/image',
            Image,
            'there is /eye/image: set image_transport to raw',
        ),
        ('/eye/image', 'raw', '/front/eye/image', Image, 'there is /front/eye/image: remap'),
    ],
)
def test_images_on_another_topic_are_found(
    start_node,
    ros: Node,
    probe_bundle: Path,
    diagnostics: DiagnosticsReader,
    remap: str,
    transport: str,
    published: str,
    kind: type,
    sentence: str,
) -> None:
    ros.create_publisher(kind, published, 1)
    node = start_node(
        *('-r', f'~/image:={remap}'),
        bundle=probe_bundle,
        image_transport=transport,
        autostart=True,
    )
    for task in ('connections', 'frames'):
        diagnostics.wait(task, lambda s, _: s.level == WARN and sentence in s.message)
    assert node.log.count(sentence) == 1


def test_two_nodes_of_one_name_are_reported(
    start_node, probe_bundle: Path, diagnostics: DiagnosticsReader
) -> None:
    nodes = [start_node(bundle=probe_bundle, autostart=True)]
    diagnostics.wait('connections', lambda s, _: s.level == OK)
    nodes.append(start_node(bundle=probe_bundle, autostart=True))
    said = 'another /dgss publishes on /dgss/mask too, so that readers get two messages for one'
    for node in nodes:
        assert wait_until(lambda n=node: said in n.log, TIMEOUT_S)
    diagnostics.wait('connections', lambda s, _: s.level == WARN and said in s.message)
    nodes[0].end(2)
    diagnostics.wait('connections', lambda s, _: s.level == OK)


def test_a_long_text_of_a_message_is_cut(
    start_node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    node = start_node(bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    before = len(node.log)
    camera.publish(to_image(camera.header(), flat(9), 'e' * 200_000))
    values = diagnostics.wait('frames', lambda _, v: v['rejected'] == '1')
    assert len(values['last_error']) <= 500
    assert wait_until(lambda: len(node.log) > before, TIMEOUT_S)
    assert len(node.log) < before + 1000
    camera.answer(flat(1))
