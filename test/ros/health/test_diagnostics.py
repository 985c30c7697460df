"""`/diagnostics` of a healthy node and of a node with faults."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from diagnostic_msgs.msg import DiagnosticStatus
from probe import write_probe_bundle
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from services import ParameterClient
from std_msgs.msg import Float32
from streams import images_at

from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.bundle.writing import update_manifest
from dgss_core.runtime.monitoring.domain_shift import collect
from dgss_core.runtime.segmenter import Segmenter
from dgss_ros.client.session import ros_session, wait_until
from dgss_ros.node.qos import LATCHED_QOS

pytestmark = pytest.mark.ros

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def street(seed: int = 0) -> np.ndarray:
    """Return a bright and sharp image for which the probe bundle gives many classes."""
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3)).astype(np.uint8)


@pytest.fixture
def active(start_node, probe_bundle: Path, camera: Camera):
    node = start_node(bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect(street())
    return node


def test_rates_and_times_are_reported(
    active, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    with images_at(camera, 20.0):
        values = diagnostics.wait(
            'frames',
            lambda _, v: 15 < float(v['rate_out_hz']) < 25 and 15 < float(v['rate_in_hz']) < 25,
        )
    stages = ('waiting', 'preparation', 'inference', 'refinement', 'publication')
    for name in (*stages, 'latency', 'age'):
        p50, p95, p99 = (float(values[f'{name}_ms_{p}']) for p in ('p50', 'p95', 'p99'))
        assert 0 <= p50 <= p95 <= p99
    medians = sum(float(values[f'{stage}_ms_p50']) for stage in stages)
    assert medians == pytest.approx(float(values['latency_ms_p50']), rel=0.5, abs=1)
    # The stamps of the test camera are of the year 2023.
    assert float(values['age_ms_p50']) > 1e9
    diagnostics.wait('frames', lambda _, v: float(v['rate_in_hz']) == 0)


def test_a_camera_that_stops_is_an_error_until_it_sends_again(
    active, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    with images_at(camera, 20.0):
        diagnostics.wait('frames', lambda s, _: s.level == OK and s.message.endswith(' Hz'))
    diagnostics.wait(
        'frames', lambda s, _: s.level == ERROR and 'no image on /dgss/image' in s.message
    )
    with images_at(camera, 20.0):
        diagnostics.wait('frames', lambda s, _: s.level == OK)


def test_a_camera_that_never_sent_is_a_warning(
    start_node, probe_bundle: Path, diagnostics: DiagnosticsReader
) -> None:
    start_node('-r', '~/image:=/camera/image_raw', bundle=probe_bundle, autostart=True)
    diagnostics.wait(
        'frames', lambda s, _: s.level == WARN and 'no image on /camera/image_raw' in s.message
    )
    time.sleep(1.5)
    assert diagnostics.status['dgss: frames'].level == WARN


def test_frames_that_take_too_long_warn_and_then_are_an_error(
    start_node, slow_bundle: Path, ros: Node, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    start_node(
        *('-p', 'watchdog.max_processing_time_ms:=1.0', '-p', 'watchdog.max_delay_ms:=0.0'),
        bundle=slow_bundle,
        autostart=True,
    )
    camera.subscribe('mask')
    camera.connect(street())
    parameters = ParameterClient(ros)
    with images_at(camera, 5.0):
        diagnostics.wait(
            'frames', lambda s, _: s.level == WARN and 'ms from arrival to mask' in s.message
        )
        assert parameters.set('watchdog.max_delay_ms', 1000.0) == ''
        diagnostics.wait(
            'frames', lambda s, _: s.level == ERROR and 'no mask in time' in s.message
        )
        assert parameters.set('watchdog.max_processing_time_ms', 10_000.0) == ''
        diagnostics.wait('frames', lambda s, _: s.level == OK)


def test_images_that_are_all_skipped_are_an_error(
    start_node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    start_node('-p', 'input.max_age_ms:=100.0', bundle=probe_bundle, autostart=True)
    with images_at(camera, 10.0):
        diagnostics.wait(
            'frames',
            lambda s, _: (
                s.level == ERROR
                and re.search(r'\d images were skipped: the last was \d+\.\d s old', s.message)
                and 'input.max_age_ms is 100; check the clock of the camera' in s.message
            ),
        )


def test_peers_whose_quality_of_service_does_not_match_are_named(
    start_node, probe_bundle: Path, diagnostics: DiagnosticsReader
) -> None:
    start_node(
        *('-p', 'qos_overrides./dgss/image.subscription.reliability:=reliable'),
        bundle=probe_bundle,
        autostart=True,
    )
    diagnostics.wait('connections', lambda s, _: s.level == OK)
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    topic = '/dgss/image'
    with ros_session('camera') as camera:
        camera.create_publisher(Image, topic, best_effort)
        diagnostics.wait(
            'connections',
            lambda s, _: (
                s.level == ERROR
                and f'/camera cannot be heard on {topic}' in s.message
                and 'qos_overrides./dgss/image.subscription.reliability to best_effort'
                in s.message
            ),
        )
    diagnostics.wait('connections', lambda s, _: s.level == OK)
    with ros_session('reader') as reader:
        reader.create_subscription(Image, '/dgss/mask', lambda _: None, LATCHED_QOS)
        diagnostics.wait(
            'connections',
            lambda s, _: s.level == ERROR and '/reader cannot hear /dgss/mask' in s.message,
        )
    with ros_session('other') as other:
        other.create_publisher(CompressedImage, topic, 1)
        diagnostics.wait(
            'connections',
            lambda s, v: s.level == ERROR and 'sensor_msgs/msg/CompressedImage' in v['1'],
        )
    diagnostics.wait('connections', lambda s, _: s.level == OK)


def test_masks_of_one_class_are_a_warning(
    active, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    with images_at(camera, 10.0, flat(48)):
        values = diagnostics.wait('mask', lambda s, _: s.level == WARN and 'all wall' in s.message)
    assert int(values['one_class_frames']) >= 10
    assert (values['largest_class'], values['largest_share']) == ('wall', '1.000')
    with images_at(camera, 10.0, street()):
        diagnostics.wait('mask', lambda s, v: s.level == OK and v['one_class_frames'] == '0')


def test_unusable_pictures_are_reported(
    active, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    diagnostics.wait('input quality', lambda s, _: (s.level, s.message) == (OK, 'usable'))

    def drive(pictures: Iterable[np.ndarray]) -> None:
        for picture in pictures:
            camera.answer(picture)
            time.sleep(0.1)

    drive(flat(index % 12) for index in range(20))
    diagnostics.wait(
        'input quality',
        lambda s, _: s.level == WARN and s.message == 'the pictures of /dgss/image are black',
    )
    with images_at(camera, 10.0, street()):
        diagnostics.wait('input quality', lambda s, _: s.level == WARN and 'frozen' in s.message)
    drive(street(seed) for seed in range(20))
    diagnostics.wait('input quality', lambda s, _: s.level == OK)


def test_a_shifted_domain_warns_and_is_published(
    start_node, ros: Node, tmp_path: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    bundle = open_bundle(write_probe_bundle(tmp_path / 'probe'))
    segmenter = Segmenter(bundle)
    frames = [(street(seed), segmenter(street(seed))) for seed in range(30)]
    update_manifest(bundle, source=collect(frames, len(bundle.labels)))
    start_node(bundle=bundle.folder, autostart=True)
    distances: list[Float32] = []
    ros.create_subscription(Float32, '/dgss/domain_shift', distances.append, 5)
    camera.subscribe('mask')
    camera.connect(street())
    values = diagnostics.wait('domain shift', lambda s, v: s.level == OK and v != {})
    assert values.keys() == {'image', 'confidence', 'classes'}
    for _ in range(10):
        camera.answer(street() // 3)
    assert wait_until(lambda: bool(distances) and distances[-1].data > 1.5, TIMEOUT_S)
    diagnostics.wait(
        'domain shift',
        lambda s, _: s.level == WARN and 'standard deviations from the source' in s.message,
    )
    assert ParameterClient(ros).set('domain_shift.limit', 0.0) == ''
    diagnostics.wait('domain shift', lambda s, _: s.level == OK)


def test_each_camera_has_statuses_of_its_own(
    start_node, probe_bundle: Path, ros: Node, diagnostics: DiagnosticsReader
) -> None:
    start_node('-p', 'cameras:=[front, left]', bundle=probe_bundle, autostart=True)
    front = Camera(ros, '/dgss/front/image', '/dgss/front')
    front.subscribe('mask')
    front.connect(street())
    diagnostics.wait('front frames', lambda _, v: int(v['processed']) >= 1)
    diagnostics.wait('left frames', lambda s, v: s.level == WARN and v['processed'] == '0')
    for task in ('input quality', 'mask', 'domain shift'):
        diagnostics.wait(f'front {task}', lambda s, _: s.level == OK)
        assert diagnostics.status[f'dgss: left {task}'].level == OK


def test_statuses_of_two_namespaces_are_told_apart(
    start_node, diagnostics: DiagnosticsReader
) -> None:
    for namespace in ('/veh_a', '/veh_b/front'):
        start_node('-r', f'__ns:={namespace}')
    names = {'veh_a/dgss: model', 'veh_b/front/dgss: model'}
    assert wait_until(lambda: names <= diagnostics.status.keys(), TIMEOUT_S)
    assert 'dgss: model' not in diagnostics.status
    assert all(diagnostics.status[name].hardware_id == 'dgss' for name in names)


def test_parameters_control_smoothing_and_the_confidence_threshold(
    active, ros: Node, camera: Camera
) -> None:
    """The images differ by one grey level, and the probe bundle gives another class."""
    parameters = ParameterClient(ros)
    assert parameters.set('smoothing.weight', 0.8) == ''
    first, second = street(), street()
    first[..., 1] = second[..., 1] = 100
    first[..., 0], second[..., 0] = 47, 48

    def classes(image: np.ndarray) -> set[int]:
        return set(camera.answer(image)['mask'].data)

    camera.answer(street(1))
    assert classes(first) == {2}
    assert classes(second) == {2}
    assert parameters.set('smoothing.weight', 0.0) == ''
    assert classes(second) == {3}
    assert parameters.set('confidence_threshold', 0.5) == ''
    assert classes(second) == {255}
