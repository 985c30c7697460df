"""`dgss bag replay` among other nodes: their quality of service, their images, their absence."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from camera import flat
from in_process import dgss
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dgss_core.bags import read_bag, write_bag
from dgss_core.images.frames import Frame
from dgss_ros.client.session import wait_until
from dgss_ros.node.messages import to_image
from dgss_ros.node.qos import LATCHED_QOS
from dgss_ros.replay.listener import Listener

pytestmark = pytest.mark.ros
START_NS = 1_700_000_000_000_000_000
IMAGES = '/camera/image_raw'
CAMERA = ('-r', f'~/image:={IMAGES}')
FRAMES = [Frame(f'{i}', flat(16 * i), START_NS + i * 100_000_000) for i in range(6)]
SOON_S = 20.0


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    return write_bag(tmp_path / 'drive', FRAMES).path


def replay(drive: Path, *options: str) -> CompletedProcess:
    output = drive.with_name('masks')
    return dgss('bag', 'replay', str(drive), '--output', str(output), '--lossless', *options)


def test_masks_with_best_effort_are_recorded(start_node, probe_bundle: Path, drive: Path) -> None:
    override = 'qos_overrides./dgss/mask.publisher.reliability'
    given = (*CAMERA, '-p', f'{override}:=best_effort')
    start_node(*given, bundle=probe_bundle, autostart=True)
    done = replay(drive)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '6 frames sent, 6 masks' in done.stdout


def test_a_publisher_that_changes_its_reliability_is_heard(ros: Node) -> None:
    heard: list[bytes] = []
    begun: list[None] = []
    Listener(ros, '/masks', heard.append, lambda: begun.append(None))
    policies = [ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT]
    for number, reliability in enumerate([*policies, *policies]):
        text = f'driver {number}'
        qos = QoSProfile(depth=1, reliability=reliability)
        publisher = ros.create_publisher(Image, '/masks', qos)

        def is_heard(publisher: Publisher = publisher, text: str = text) -> bool:
            publisher.publish(Image(header=Header(frame_id=text)))
            return any(text.encode() in raw for raw in heard)

        assert wait_until(is_heard, SOON_S)
        ros.destroy_publisher(publisher)
    assert len(begun) >= 2


@contextmanager
def sending(ros: Node, period_s: float = 0.05) -> Iterator[None]:
    """Another camera driver on the topic, with stamps of its own, which the node answers."""
    publisher = ros.create_publisher(Image, IMAGES, 10)
    masks: list[bytes] = []
    ros.create_subscription(Image, '/dgss/mask', masks.append, 10, raw=True)
    is_over = threading.Event()

    def send() -> None:
        second = 1
        while not is_over.wait(period_s):
            header = Header()
            header.stamp.sec = second
            publisher.publish(to_image(header, flat(200), 'rgb8'))
            second += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        assert wait_until(lambda: bool(masks), SOON_S)
        yield
    finally:
        is_over.set()
        thread.join()


def test_masks_of_images_that_others_send_are_left_out_and_told(
    start_node, ros: Node, probe_bundle: Path, drive: Path
) -> None:
    start_node(*CAMERA, bundle=probe_bundle, autostart=True)
    with sending(ros):
        # Slow: DDS may tell of the other publisher seconds later.
        done = replay(drive, '--rate', '0.1')
    assert '6 frames sent, 6 masks' in done.stdout
    told = 'of images that the replay did not send are left out: /test publishes /camera/image_raw'
    assert told in ' '.join(done.stdout.split())
    assert 'A busy node' not in done.stdout
    masks = list(read_bag(drive.with_name('masks'), '/dgss/mask'))
    assert [mask.stamp_ns for mask in masks] == [frame.stamp_ns for frame in FRAMES]


def test_masks_that_are_remapped_are_told(start_node, probe_bundle: Path, drive: Path) -> None:
    start_node(*CAMERA, '-r', '~/mask:=/elsewhere', bundle=probe_bundle, autostart=True)
    done = replay(drive, '--wait', '2')
    assert done.returncode == 2
    assert 'nobody publishes /dgss/mask; do not remap it, or give the --node' in done.stderr


def test_a_node_with_another_image_topic_is_told(
    start_node, probe_bundle: Path, drive: Path
) -> None:
    start_node(bundle=probe_bundle, autostart=True)
    done = replay(drive, '--wait', '2')
    assert done.returncode == 2
    assert f'nobody takes images from {IMAGES}; remap ~/image of /dgss to it' in done.stderr


@pytest.mark.parametrize('is_compressed', [False, True])
def test_a_node_with_another_transport_is_told(
    start_node, probe_bundle: Path, tmp_path: Path, is_compressed: bool
) -> None:
    transport, other = ('compressed', 'raw') if is_compressed else ('raw', 'compressed')
    taken = IMAGES if is_compressed else f'{IMAGES}/compressed'
    write_bag(tmp_path / 'drive', FRAMES, compressed=is_compressed)
    start_node(*CAMERA, bundle=probe_bundle, autostart=True, image_transport=other)
    done = replay(tmp_path / 'drive', '--wait', '2')
    assert done.returncode == 2
    assert f'/dgss takes {taken}; give it as --image' in done.stderr
    assert f'start the node with image_transport:={transport}.' in done.stderr


def test_a_quality_of_service_that_does_not_match_is_told(ros: Node, drive: Path) -> None:
    ros.create_publisher(Image, '/test/mask', 1)
    ros.create_subscription(Image, IMAGES, [].append, LATCHED_QOS)
    done = replay(drive, '--wait', '2', '--node', '/test')
    assert done.returncode == 2
    assert f'the quality of service on {IMAGES} does not match (' in done.stderr
