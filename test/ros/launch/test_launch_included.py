"""Our launch file included in a launch file of a vehicle; skipped without launch_pytest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from camera import Camera, flat
from probe import write_probe_bundle
from rclpy.node import Node

from dgss_ros.node.messages import to_mask

launch_pytest = pytest.importorskip(
    'launch_pytest', reason='needs launch_pytest and pytest before 8.4'
)
pytestmark = [pytest.mark.ros, pytest.mark.ros_apt]
SEGMENT = Path(__file__).parents[3] / 'launch' / 'segment.launch.py'


@launch_pytest.fixture
def vehicle(tmp_path: Path):
    from launch.actions import IncludeLaunchDescription

    from launch import LaunchDescription

    arguments = {
        'bundle': str(write_probe_bundle(tmp_path / 'probe')),
        'cameras': 'front',
        'namespace': 'vehicle',
    }
    segment = IncludeLaunchDescription(str(SEGMENT), launch_arguments=arguments.items())
    return LaunchDescription([segment, launch_pytest.actions.ReadyToTest()])


@pytest.mark.launch(fixture=vehicle)
def test_an_included_launch_file_serves_the_camera(ros: Node) -> None:
    camera = Camera(ros, '/front/image_raw', '/vehicle/dgss/front')
    camera.subscribe('mask')
    camera.connect()
    assert np.unique(to_mask(camera.answer(flat(80))['mask'])).tolist() == [5]
