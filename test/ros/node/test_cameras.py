"""Several cameras in one node, rotated cameras, regions of interest, and skipped images."""

from __future__ import annotations

import time
from array import array
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from services import ParameterClient
from std_msgs.msg import Header

from dgss_core.images.compressed import decode_compressed, encode_jpeg, encode_png
from dgss_ros.client.session import wait_until
from dgss_ros.node.camera_info import fits, scaled
from dgss_ros.node.cameras import Pace
from dgss_ros.node.messages import stamp_ns, to_image, to_mask

pytestmark = pytest.mark.ros
NAMES = ('front', 'left', 'right', 'rear')


def test_every_camera_has_its_own_topics_and_order(
    start_node, ros: Node, probe_bundle: Path, diagnostics: DiagnosticsReader
) -> None:
    start_node(
        *('-p', f'cameras:=[{", ".join(NAMES)}]', '-p', 'batch.max_size:=4'),
        *('-p', 'batch.max_wait_ms:=5.0'),
        workers=2,
        bundle=probe_bundle,
        autostart=True,
    )
    cameras = [Camera(ros, f'/dgss/{name}/image', f'/dgss/{name}') for name in NAMES]
    for camera in cameras:
        camera.subscribe('mask')
        camera.connect()
    for red in range(10, 200, 20):
        for index, camera in enumerate(cameras):
            camera.send(flat(red + index))
        for index, camera in enumerate(cameras):
            mask = to_mask(camera.answer(flat(16 * index))['mask'])
            assert np.unique(mask).tolist() == [index]
    for name, camera in zip(NAMES, cameras, strict=True):
        stamps = [stamp_ns(mask.header) for mask in camera.received['mask']]
        assert stamps == sorted(stamps)
        diagnostics.wait(
            f'{name} frames',
            lambda _, v: int(v['received']) == int(v['processed']) + int(v['dropped']) > 10,
        )


def coded(width: int, height: int) -> np.ndarray:
    """Return an image whose red channel encodes the position."""
    y, x = np.mgrid[:height, :width]
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 16 * ((x // 8 + 3 * (y // 8)) % 16)
    return image


@pytest.mark.parametrize('rotation', [0, 90, 180, 270])
def test_the_mask_fits_the_unrotated_image(
    start_node, ros: Node, probe_bundle: Path, rotation: int
) -> None:
    """The upright region has the size of the network, so that no pixel is resized."""
    start_node(
        *('-p', 'cameras:=[side, back]', '-p', f'side.rotation:={rotation}'),
        *('-p', 'input.roi:=[0, 0, 64, 48]'),
        bundle=probe_bundle,
        autostart=True,
    )
    width, height = (48, 64) if rotation in (90, 270) else (64, 48)
    image = coded(100, 90)
    side, back = (Camera(ros, f'/dgss/{name}/image', f'/dgss/{name}') for name in ('side', 'back'))
    for camera in (side, back):
        camera.subscribe('mask', 'confidence')
    client = ParameterClient(ros)
    assert client.set('side.roi', [16, 8, width, height]) == ''
    for camera, x, y, w, h in ((side, 16, 8, width, height), (back, 0, 0, 64, 48)):
        camera.connect(image)
        answers = camera.answer(image)
        expected = np.full((90, 100), 255, np.uint8)
        expected[y : y + h, x : x + w] = image[y : y + h, x : x + w, 0] // 16
        np.testing.assert_array_equal(to_mask(answers['mask']), expected)
        assert to_mask(answers['confidence']).max() == 0


def test_a_region_takes_effect_at_once_and_one_outside_the_image_is_reported(
    start_node, ros: Node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    start_node(bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    client = ParameterClient(ros)
    image = flat(100, size=(64, 48))
    for roi in ([8, 4, 20, 10], [0, 0, 0, 0]):
        assert client.set('input.roi', roi) == ''
        mask = to_mask(camera.answer(image)['mask'])
        x, y, w, h = roi if any(roi) else (0, 0, 64, 48)
        assert (mask != 255).sum() == w * h
        assert (mask[y : y + h, x : x + w] == 6).all()
    assert client.set('input.roi', [60, 0, 20, 10]) == ''
    camera.send(image)
    diagnostics.wait('frames', lambda _, v: 'does not lie within' in v['last_error'])


def test_compressed_images_are_segmented(start_node, ros: Node, probe_bundle: Path) -> None:
    start_node(
        *('-r', '~/image:=/camera/image_raw'),
        image_transport='compressed',
        bundle=probe_bundle,
        autostart=True,
    )
    camera = Camera(ros)
    camera.subscribe('mask')
    publisher = ros.create_publisher(CompressedImage, '/camera/image_raw/compressed', 5)
    assert wait_until(lambda: publisher.get_subscription_count() == 1, TIMEOUT_S)
    image = coded(64, 48)
    for name, content in (('png', encode_png(image)), ('jpeg', encode_jpeg(image))):
        header = camera.header()
        message = CompressedImage(header=header, format=f'rgb8; {name} compressed bgr8')
        message.data = array('B', content)

        def answered(message: CompressedImage = message) -> bool:
            publisher.publish(message)
            masks = camera.received['mask']
            return wait_until(lambda: bool(masks) and masks[-1].header == message.header, 0.3)

        assert wait_until(answered, TIMEOUT_S)
        mask = to_mask(camera.received['mask'][-1])
        np.testing.assert_array_equal(mask, decode_compressed(content)[..., 0] // 16)


def test_masks_of_network_size_have_a_matching_camera_info(
    start_node, ros: Node, probe_bundle: Path
) -> None:
    start_node(
        *('-r', '~/image:=/camera/image_raw', '-p', 'output.size:=network'),
        *('-p', 'input.rotation:=90', '-p', 'input.roi:=[20, 10, 96, 128]'),
        bundle=probe_bundle,
        autostart=True,
    )
    camera = Camera(ros, '/camera/image_raw')
    camera.subscribe('mask', 'overlay')
    infos: list[CameraInfo] = []
    ros.create_subscription(CameraInfo, '/dgss/camera_info', infos.append, 5)
    publisher = ros.create_publisher(CameraInfo, '/camera/camera_info', 5)
    assert wait_until(lambda: publisher.get_subscription_count() == 1, TIMEOUT_S)
    info = CameraInfo(width=160, height=144, k=[200.0, 0, 80, 0, 210, 72, 0, 0, 1])
    info.p = [200.0, 0, 80, 40, 0, 210, 72, 0, 0, 0, 1, 0]
    image = coded(160, 144)
    camera.connect(image)

    def informed() -> bool:
        publisher.publish(info)
        return bool(camera.answer(image) and infos)

    assert wait_until(informed, TIMEOUT_S)
    answers = camera.answer(image)
    assert wait_until(lambda: infos[-1].header == answers['mask'].header, TIMEOUT_S)
    for message in (*answers.values(), infos[-1]):
        assert (message.width, message.height) == (48, 64)
    # The region of 96x128 at (20, 10) is scaled by half to 48x64.
    assert np.allclose(infos[-1].k, [100, 0, 29.75, 0, 105, 30.75, 0, 0, 1])
    assert np.allclose(infos[-1].p, [100, 0, 29.75, 20, 0, 105, 30.75, 0, 0, 0, 1, 0])


def test_matrices_include_the_binning_and_region_of_the_camera() -> None:
    """A point in the world projects to the same position with both calibrations."""
    info = CameraInfo(width=640, height=480, binning_x=2, binning_y=2)
    info.k = [500.0, 0, 320, 0, 500, 240, 0, 0, 1]
    info.p = [500.0, 0, 320, 0, 0, 500, 240, 0, 0, 0, 1, 0]
    info.roi.x_offset, info.roi.y_offset = 100, 50
    info.roi.width, info.roi.height = 400, 300
    assert fits(info, width=200, height=150)
    assert not fits(info, width=640, height=480)
    new = scaled(info, info.header, (0, 0, 200, 150), width=100, height=75)
    point = np.array([0.1, -0.05, 1.0])
    u, v, _ = np.reshape(info.k, (3, 3)) @ point
    # Each pixel covers 4x4 pixels of the sensor, from (100, 50).
    expected = [(u + 0.5 - 100) / 4 - 0.5, (v + 0.5 - 50) / 4 - 0.5]
    assert np.allclose((np.reshape(new.k, (3, 3)) @ point)[:2], expected)
    assert (new.binning_x, new.roi.width) == (0, 0)


def test_old_images_and_those_over_the_rate_are_skipped(
    start_node, ros: Node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    start_node(bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    client = ParameterClient(ros)
    assert client.set('input.max_age_ms', 500.0) == ''
    before = int(diagnostics.wait('frames', lambda _, v: True)['skipped'])
    camera.send(flat(1))
    diagnostics.wait('frames', lambda _, v: int(v['skipped']) == before + 1)
    fresh = to_image(Header(stamp=ros.get_clock().now().to_msg()), flat(1), 'rgb8')
    camera.publish(fresh)
    masks = camera.received['mask']
    assert wait_until(lambda: masks[-1].header == fresh.header, TIMEOUT_S)
    assert client.set('input.max_age_ms', 0.0) == ''
    diagnostics.status.clear()
    values = diagnostics.wait('frames', lambda *_: True)
    skipped, received = int(values['skipped']), int(values['received'])
    assert client.set('input.max_rate', 0.01) == ''
    for count in range(5):
        camera.send(flat(1))
        diagnostics.wait(
            'frames',
            lambda _, v, n=count: (
                (int(v['received']), int(v['skipped'])) == (received + 1, skipped + n)
            ),
        )
    # A camera that was slowed down to one image in 100 s is not silent for the rest of them.
    assert client.set('input.max_rate', 30.0) == ''
    camera.answer(flat(2))
    assert 'at least 0.01' in client.set('input.max_rate', 1e-300)


def test_the_age_follows_simulated_time(
    start_node, ros: Node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    """Frames are answered before the simulated clock begins, while it runs, and when it jumps."""
    start_node(
        *('-p', 'use_sim_time:=true', '-p', 'input.max_age_ms:=500.0'),
        bundle=probe_bundle,
        autostart=True,
    )
    camera.subscribe('mask')
    camera.connect()
    masks = camera.received['mask']
    clock = ros.create_publisher(Clock, '/clock', 10)
    assert wait_until(lambda: clock.get_subscription_count() == 1, TIMEOUT_S)

    def send(stamp_s: int, clock_s: int) -> Image:
        clock.publish(Clock(clock=Time(sec=clock_s)))
        time.sleep(0.2)
        message = to_image(Header(stamp=Time(sec=stamp_s)), flat(1), 'rgb8')
        camera.publish(message)
        return message

    for seconds in (1000, 1010, 5):
        message = send(stamp_s=seconds, clock_s=seconds)
        assert wait_until(lambda m=message: masks[-1].header == m.header, TIMEOUT_S)
    before = int(diagnostics.values('frames')['skipped'])
    send(stamp_s=5, clock_s=10)
    diagnostics.wait('frames', lambda _, v: int(v['skipped']) == before + 1)


@pytest.mark.parametrize('stamp', [Time(), Time(sec=-5), Time(sec=-(2**31), nanosec=2**32 - 1)])
def test_an_invalid_stamp_is_copied_and_has_no_age(
    start_node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader, stamp: Time
) -> None:
    start_node('-p', 'input.max_age_ms:=500.0', bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    message = to_image(Header(stamp=stamp), flat(1), 'rgb8')

    def answered() -> bool:
        camera.publish(message)
        return wait_until(lambda: bool(camera.received['mask']), 0.5)

    assert wait_until(answered, TIMEOUT_S)
    assert camera.received['mask'][-1].header == message.header
    values = diagnostics.wait('frames', lambda _, v: int(v['processed']) > 0)
    assert (values['failed'], values['skipped']) == ('0', '0')
    assert 'age_ms_p50' not in values


@pytest.mark.parametrize('rate', [7.0, 20.0, 30.0, 100.0])
def test_a_pace_admits_its_rate(rate: float) -> None:
    """This also holds if the camera rate is no multiple of the rate."""
    pace = Pace()
    passed = sum(pace.admits(1000 + i / 30, rate) for i in range(300))
    assert abs(passed - min(300, 10 * rate)) <= 2
    assert all(pace.admits(2000 + i / 30, 0.0) for i in range(30))


def test_a_pace_follows_a_new_rate_at_once() -> None:
    pace = Pace()
    assert pace.admits(10.0, 0.001)
    assert not pace.admits(10.1, 0.001)
    assert pace.admits(10.2, 10.0)
    assert not pace.admits(10.25, 10.0)
    assert pace.admits(10.3, 20.0)


def test_a_pace_does_not_catch_up_after_a_pause() -> None:
    pace = Pace()
    assert pace.admits(10.0, 10.0)
    times = [20.0 + i / 100 for i in range(50)]
    assert sum(pace.admits(time_s, 10.0) for time_s in times) <= 6
