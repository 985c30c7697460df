"""demo.launch.py as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from camera import TIMEOUT_S, flat
from launching import finished, launched
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from dgss_core.bags import write_bag
from dgss_core.images.frames import Frame
from dgss_ros.client.session import wait_until

pytestmark = [pytest.mark.ros, pytest.mark.ros_apt]
START_NS = 1_700_000_000_000_000_000


def test_the_demo_loops(ros: Node, probe_bundle: Path, drive: Path, tmp_path: Path) -> None:
    masks: list[Image] = []
    ros.create_subscription(Image, '/dgss/mask', masks.append, QoSProfile(depth=10))
    with launched(tmp_path / 'log', 'demo', bag=drive, rviz='false', bundle=probe_bundle):
        assert wait_until(lambda: len(masks) > 10, 2 * TIMEOUT_S), 'it does not loop'


def test_the_demo_drives_each_camera_in_its_namespace(
    ros: Node, probe_bundle: Path, vehicle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the synthetic drive is there from an earlier demo."""
    frames = [
        Frame(f'{i}', flat(16 * i, size=(128, 96)), START_NS + i * 100_000_000) for i in range(9)
    ]
    (tmp_path / '.ros' / 'dgss').mkdir(parents=True)
    write_bag(tmp_path / '.ros' / 'dgss' / 'demo_drive', frames)
    monkeypatch.setenv('HOME', str(tmp_path))
    masks: dict[str, list[Image]] = {'front': [], 'left': []}
    for name, received in masks.items():
        topic = f'/veh/dgss/{name}/mask'
        ros.create_subscription(Image, topic, received.append, QoSProfile(depth=10))
    arguments = {'cameras': 'front,left', 'image': '/sensing/{camera}/image_raw'}
    with launched(
        tmp_path / 'log',
        'demo',
        bundle=probe_bundle,
        params_file=vehicle,
        namespace='veh',
        rviz='false',
        **arguments,
    ):
        assert wait_until(lambda: all(len(m) > 3 for m in masks.values()), 3 * TIMEOUT_S)


def test_the_demo_plays_what_the_parameter_file_asks_for(
    ros: Node, probe_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The synthetic drive is compressed for a node that takes compressed images."""
    home = tmp_path / '.ros' / 'dgss'
    home.mkdir(parents=True)
    frames = [
        Frame(f'{i}', flat(16 * i, size=(128, 96)), START_NS + i * 100_000_000) for i in range(9)
    ]
    write_bag(home / 'demo_drive_compressed', frames, compressed=True)
    (tmp_path / 'mine.yaml').write_text('dgss: {ros__parameters: {image_transport: compressed}}')
    monkeypatch.setenv('HOME', str(tmp_path))
    masks: list[Image] = []
    ros.create_subscription(Image, '/dgss/mask', masks.append, QoSProfile(depth=10))
    given = {'bundle': probe_bundle, 'params_file': '~/mine.yaml', 'rviz': 'false'}
    with launched(tmp_path / 'log', 'demo', **given):
        assert wait_until(lambda: len(masks) > 3, 3 * TIMEOUT_S)


def test_a_demo_without_rviz_starts_nothing(probe_bundle: Path) -> None:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError:
        done = finished('demo', bundle=probe_bundle)
        assert done.returncode == 1
        assert (
            'RViz is not installed; install the package rviz2, or give rviz:=false' in done.stdout
        )
        assert 'process started' not in done.stdout
    else:
        pytest.skip('RViz is installed')
