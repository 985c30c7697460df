"""Several cameras through one node, and cameras that are turned or seen in part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from camera import Camera, DiagnosticsReader, flat
from rclpy.node import Node

from dgss_ros.cameras import Pace
from dgss_ros.messages import stamp_ns, to_mask

pytestmark = pytest.mark.ros
NAMES = ('front', 'left', 'right', 'rear')


def test_every_camera_has_its_topics_and_its_order(
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


@pytest.mark.parametrize('rate', [7.0, 20.0, 30.0, 100.0])
def test_a_pace_lets_pass_what_it_says(rate: float) -> None:
    """Also where the rate does not divide that of the camera."""
    pace = Pace()
    passed = sum(pace.admits(1000 + i / 30, rate) for i in range(300))
    assert abs(passed - min(300, 10 * rate)) <= 2
    assert all(pace.admits(2000 + i / 30, 0.0) for i in range(30))


def test_a_pace_catches_nothing_up_after_a_pause() -> None:
    pace = Pace()
    assert pace.admits(10.0, 10.0)
    times = [20.0 + i / 100 for i in range(50)]
    assert sum(pace.admits(time_s, 10.0) for time_s in times) <= 6
