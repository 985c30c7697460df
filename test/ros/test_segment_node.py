"""Images in, masks out, between two processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from array import array
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String
from streams import images_at

from dgss_core.images.paint import overlay
from dgss_core.labels import LabelSet
from dgss_ros import segment_node
from dgss_ros.client.session import wait_until
from dgss_ros.node.messages import stamp_ns, to_image, to_mask, to_picture
from dgss_ros.node.qos import LATCHED_QOS

pytestmark = pytest.mark.ros


@pytest.fixture
def active(start_node, probe_bundle: Path, camera: Camera):
    node = start_node(bundle=probe_bundle, autostart=True)
    camera.subscribe('mask', 'confidence')
    camera.connect()
    return node


def test_an_answer_has_the_header_and_size_of_its_image(active, camera: Camera) -> None:
    for size in [(64, 48), (640, 360), (321, 123), (1, 1), (48, 64)]:
        for red, green in [(0, 0), (100, 7), (47, 255)]:
            answers = camera.answer(flat(red, green, size))
            for name, value in (('mask', red // 16), ('confidence', green)):
                message = answers[name]
                assert (message.width, message.height, message.step) == (*size, size[0])
                assert (message.encoding, message.is_bigendian) == ('mono8', 0)
                assert np.unique(to_mask(message)).tolist() == [value]


def test_the_order_of_channels_is_respected(active, camera: Camera) -> None:
    image = flat(200, 3)
    for encoding, sent in [
        ('rgb8', image),
        ('bgr8', image[..., ::-1]),
        ('bgra8', np.dstack([image[..., ::-1], image[..., 2]])),
    ]:
        mask = to_mask(camera.answer(sent, encoding)['mask'])
        assert np.unique(mask).tolist() == [200 // 16]


def test_unusable_images_are_counted_and_the_next_good_one_is_answered(
    start_node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    # Reliable, as the camera is: best effort may lose an image on a busy machine.
    # Without a limit of the delay: the node looks once a second, and the last mask is as old then.
    arguments = ('-p', 'input.reliability:=auto', '-p', 'watchdog.max_delay_ms:=0.0')
    node = start_node(*arguments, bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()

    def broken(**changes: object) -> Image:
        message = to_image(camera.header(), flat(9), 'rgb8')
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    images = [
        broken(encoding='infrared12'),
        broken(data=array('B', bytes(100))),
        broken(data=array('B')),
        broken(width=0),
        broken(step=64),
        broken(height=2**32 - 1, width=2**32 - 1, step=2**32 - 1),
    ]
    for rejected, message in enumerate(images, 1):
        camera.publish(message)
        diagnostics.wait('frames', lambda _, v, n=rejected: v['rejected'] == str(n))
        assert np.unique(to_mask(camera.answer(flat(80))['mask'])).tolist() == [5]
    values = diagnostics.values('frames')
    assert 'infrared12' not in values['last_error']
    assert values['failed'] == '0'
    camera.publish(images[0])
    diagnostics.wait(
        'frames', lambda s, _: s.level == DiagnosticStatus.WARN and 'infrared12' in s.message
    )
    assert 'infrared12' in node.log
    with images_at(camera, 20.0):
        diagnostics.wait('frames', lambda s, _: s.level == DiagnosticStatus.OK)


def test_under_overload_the_newest_frame_wins(
    start_node, ros: Node, slow_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    published_ns: dict[int, int] = {}

    def note(mask: Image, info: dict[str, int]) -> None:
        published_ns[stamp_ns(mask.header)] = info['source_timestamp']

    ros.create_subscription(Image, '/dgss/mask', note, QoSProfile(depth=50))
    start_node(bundle=slow_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    sent = {}
    for index in range(200):
        message = camera.send(flat(16 * (index % 16)))
        sent[stamp_ns(message.header)] = index
        time.sleep(0.004)
    sent_ns, last = time.time_ns(), stamp_ns(message.header)
    masks = camera.received['mask']
    assert wait_until(lambda: sent.get(stamp_ns(masks[-1].header)) == 199, TIMEOUT_S), (
        'the last frame has no answer'
    )
    # Only the frame in work and the newest one are left; a queue would hold more.
    assert wait_until(lambda: last in published_ns, TIMEOUT_S)
    assert 1 <= sum(at_ns > sent_ns for at_ns in published_ns.values()) <= 3
    masks = [mask for mask in masks if stamp_ns(mask.header) in sent]
    answered = [sent[stamp_ns(mask.header)] for mask in masks]
    assert answered == sorted(set(answered))
    for index, mask in zip(answered, masks, strict=True):
        assert np.unique(to_mask(mask)).tolist() == [index % 16]
    assert len(answered) < 180
    values = diagnostics.wait(
        'frames',
        lambda _, v: (
            int(v['received']) == int(v['processed']) + int(v['dropped']) > 20
            and int(v['processed']) >= len(answered)
        ),
    )
    assert int(values['dropped']) > 0


def test_the_overlay_is_painted_for_a_subscriber(
    start_node, probe_bundle: Path, camera: Camera
) -> None:
    start_node(bundle=probe_bundle, autostart=True, overlay_opacity=0.25)
    camera.subscribe('mask', 'overlay')
    camera.connect()
    image = flat(100, 50, (320, 180))
    message = camera.answer(image)['overlay']
    assert (message.encoding, message.width, message.height) == ('rgb8', 320, 180)
    mask = np.full((180, 320), 100 // 16, np.uint8)
    expected = overlay(image, mask, LabelSet.load('cityscapes19'), 0.25)
    assert np.array_equal(to_picture(message).rgb, expected)


def test_the_label_set_waits_for_late_subscribers(active, ros: Node) -> None:
    received: list[String] = []
    ros.create_subscription(String, '/dgss/labels', received.append, LATCHED_QOS)
    assert wait_until(lambda: len(received) == 1, TIMEOUT_S)
    assert '"bicycle"' in received[0].data


def test_diagnostics_report_the_bundle_and_its_latency(
    active, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    for _ in range(5):
        camera.answer(flat(1))
    values = diagnostics.wait('frames', lambda _, v: int(v['processed']) >= 5)
    assert 0 < float(values['latency_ms_p50']) <= float(values['latency_ms_p99'])
    model = diagnostics.values('model')
    assert model == {
        'state': 'active',
        'cpu_percent': model['cpu_percent'],
        'memory_mib': model['memory_mib'],
        'bundle': model['bundle'],
        'bundle_folder': model['bundle_folder'],
        'backend': 'onnxruntime',
        'engine': model['engine'],
        'label_set': 'cityscapes19',
        'network_size': '64x48',
    }
    assert model['bundle'].startswith('probe@')
    assert 0 <= float(model['cpu_percent']) < 100 * (os.cpu_count() or 1) + 50
    assert 10 < float(model['memory_mib']) < 4000


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM'])
@pytest.mark.parametrize('busy', [False, True])
def test_a_signal_ends_the_node_cleanly(
    start_node, slow_bundle: Path, camera: Camera, name: str, busy: bool
) -> None:
    node = start_node(bundle=slow_bundle, autostart=True, fresh=True)
    camera.subscribe('mask')
    camera.connect()
    if busy:
        for red in range(10):
            camera.send(flat(red))
    assert node.end(getattr(signal, name)) == 0, node.log


def test_a_second_interrupt_does_not_disturb_the_shutdown(start_node, slow_bundle: Path) -> None:
    node = start_node(bundle=slow_bundle, autostart=True, fresh=True)
    assert wait_until(lambda: 'Takes images' in node.log, TIMEOUT_S)
    for _ in range(3):
        node.process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    assert node.process.wait(20) == 0, node.log


def test_the_node_needs_no_torch(start_node, probe_bundle: Path, camera: Camera) -> None:
    node = start_node(bundle=probe_bundle, backend='auto', autostart=True, fresh=True)
    camera.subscribe('mask')
    camera.connect()
    mapped = Path(f'/proc/{node.process.pid}/maps')
    if not mapped.exists():
        pytest.skip('needs /proc')
    assert 'onnxruntime' in mapped.read_text()
    assert 'torch' not in mapped.read_text()
    command = 'import sys, dgss_ros.segment_node; sys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', command]).returncode == 0


def test_opencv_has_one_thread_while_the_node_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # The threads that OpenCV would start cannot be told from those of the middleware.
    monkeypatch.setattr(segment_node, 'run', lambda *_: cv2.getNumThreads())
    before = cv2.getNumThreads()
    assert segment_node.main(['segment_node']) == 1
    assert cv2.getNumThreads() == before


def test_a_reliable_camera_and_a_best_effort_reader_are_served_too(
    active, ros: Node, camera: Camera
) -> None:
    from rclpy.qos import ReliabilityPolicy

    received: list[Image] = []
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    ros.create_subscription(Image, '/dgss/mask', received.append, qos)
    assert wait_until(lambda: camera.answer(flat(7)) and bool(received), TIMEOUT_S)
