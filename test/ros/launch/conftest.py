"""The launch files need a workspace with the package, and the tools of ROS 2."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from camera import flat

from dgss_core.images.frames import Frame

START_NS = 1_700_000_000_000_000_000


@pytest.fixture(autouse=True)
def installed() -> None:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    if shutil.which('ros2') is None:
        pytest.skip('needs the ros2 command (ros2launch)')
    try:
        get_package_prefix('dgss_ros')
    except (PackageNotFoundError, OSError):
        pytest.skip('dgss_ros is not in a sourced workspace; run colcon build and source it')


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Ten images, whose labels are what the probe bundle answers."""
    from dgss_core.bags import write_bag  # needs rosbags

    frames = [
        Frame(
            f'{i}',
            flat(16 * i, size=(128, 96)),
            START_NS + i * 200_000_000,
            labels=np.full((96, 128), i, np.uint8),
        )
        for i in range(10)
    ]
    write_bag(tmp_path / 'drive', frames)
    return tmp_path / 'drive'


@pytest.fixture
def vehicle(tmp_path: Path) -> Path:
    """A parameter file with a region beyond a small image, and a largest age."""
    file = tmp_path / 'vehicle.yaml'
    limits = 'input: {roi: [70, 50, 40, 30], max_age_ms: 500.0}'
    file.write_text(f'/**:\n  ros__parameters:\n    {limits}\n')
    return file
