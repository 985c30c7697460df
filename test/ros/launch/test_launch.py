"""`ros2 launch` as a user calls it. test_parameters.py covers the parameters without it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from camera import TIMEOUT_S, Camera, flat
from launching import finished, launch, launched
from rclpy.node import Node
from services import ParameterClient

from dgss_ros.client.lifecycle import LifecycleClient
from dgss_ros.client.session import wait_until
from dgss_ros.node.messages import to_mask

pytestmark = [pytest.mark.ros, pytest.mark.ros_apt]
SEGMENT = ('image', 'cameras', 'bundle', 'backend', 'params_file', 'namespace', 'use_sim_time',
           'autostart', 'respawn', 'log_level')  # fmt: skip
# fmt: off
ARGUMENTS = {
    'segment': SEGMENT,
    'evaluate': ('bag', 'output', 'labels', 'label_set', 'criteria', 'lossless', 'rate', 'wait',
                 *SEGMENT),
    'demo': ('bag', 'rviz', *SEGMENT),
}
# fmt: on


def test_a_launched_node_segments_the_named_camera(
    ros: Node, probe_bundle: Path, tmp_path: Path
) -> None:
    camera = Camera(ros, '/front_camera/image_raw', '/front/dgss')
    camera.subscribe('mask')
    with launched(
        tmp_path / 'log', bundle=probe_bundle, image='/front_camera/image_raw', namespace='front'
    ):
        camera.connect()
        mask = to_mask(camera.answer(flat(100))['mask'])
        assert np.unique(mask).tolist() == [100 // 16]


def test_cameras_are_distributed_over_nodes(ros: Node, probe_bundle: Path, tmp_path: Path) -> None:
    nodes = {'front': 'dgss_front_left', 'left': 'dgss_front_left', 'rear': 'dgss_rear'}
    cameras = [
        Camera(ros, f'/sensing/{name}/image_raw', f'/{node}/{name}')
        for name, node in nodes.items()
    ]
    with launched(
        tmp_path / 'log',
        cameras='front,left:rear',
        image='/sensing/{camera}/image_raw',
        bundle=probe_bundle,
    ):
        for red, camera in enumerate(cameras):
            camera.subscribe('mask')
            camera.connect()
            answer = camera.answer(flat(16 * red))
            assert np.unique(to_mask(answer['mask'])).tolist() == [red]


def test_a_node_that_died_is_started_again(ros: Node, probe_bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / 'log'
    camera = Camera(ros, '/camera/image_raw')
    camera.subscribe('mask')
    with launched(log, bundle=probe_bundle, respawn='true'):
        camera.connect()
        (pid,) = re.findall(
            r'segment_node-1\]: process started with pid \[(\d+)\]', log.read_text()
        )
        os.kill(int(pid), signal.SIGKILL)
        assert wait_until(lambda: log.read_text().count('process started') == 2, TIMEOUT_S)
        assert wait_until(lambda: log.read_text().count('Takes images') == 2, TIMEOUT_S)
        camera.received['mask'].clear()
        assert wait_until(
            lambda: camera.send(flat(80)) and bool(camera.received['mask']), TIMEOUT_S
        )


def test_the_parameter_file_sets_the_bundle_if_no_argument_does(
    ros: Node, probe_bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / 'mine.yaml'
    file.write_text(f'/**:\n  ros__parameters:\n    bundle: {probe_bundle}\n')
    log = tmp_path / 'log'
    with launched(log, params_file=file, autostart='false', log_level='debug'):
        client = LifecycleClient(ros)
        assert client.state == 'unconfigured'
        client.configure()
        assert wait_until(lambda: 'Runs probe@' in log.read_text(), TIMEOUT_S)


def test_the_end_of_the_last_node_decides_the_exit_code(
    probe_bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / 'mine.yaml'
    file.write_text('/**:\n  ros__parameters:\n    workers: 99\n')
    done = finished('segment', bundle=probe_bundle, params_file=file)
    assert done.returncode == 1, done.stdout
    assert 'Nothing runs any more, and segment_node-1 (exit code 2) failed' in done.stdout


def test_wrong_arguments_are_reported() -> None:
    for arguments, reason in (
        ({'log_level': 'loud'}, '"loud" is not valid'),
        ({'cameras': 'front,left', 'image': '/camera'}, "cannot share the topic '/camera'"),
        ({'cameras': 'fr-ont'}, "'fr-ont' cannot name a camera"),
        ({'namespace': 'a b'}, "'a b' is not a namespace"),
        ({'params_file': '/nothing.yaml'}, 'There is no parameter file /nothing.yaml'),
    ):
        command = launch('segment', **arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode != 0
        assert reason in done.stdout + done.stderr


GROUP = """
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch_ros.actions import PushRosNamespace, SetParameter

def generate_launch_description():
    include = IncludeLaunchDescription('{file}', launch_arguments={arguments}.items())
    set_before = SetParameter('overlay_opacity', 0.25)
    return LaunchDescription([GroupAction([PushRosNamespace('fleet'), set_before, include])])
"""


def group(folder: Path, name: str, **arguments: object) -> Path:
    """A launch file of a vehicle that puts one of ours into a namespace and sets a parameter."""
    file = Path(__file__).parents[3] / 'launch' / f'{name}.launch.py'
    given = {key: str(value) for key, value in arguments.items()}
    path = folder / 'group.launch.py'
    path.write_text(GROUP.format(file=file, arguments=given))
    return path


def test_a_group_sets_the_namespace_and_parameters(
    ros: Node, probe_bundle: Path, tmp_path: Path
) -> None:
    file = group(tmp_path, 'segment', bundle=probe_bundle, namespace='veh')
    camera = Camera(ros, '/camera/image_raw', '/fleet/veh/dgss')
    camera.subscribe('mask')
    with launched(tmp_path / 'log', file):
        camera.connect()
        assert ParameterClient(ros, '/fleet/veh/dgss').get('overlay_opacity') == 0.25


def test_an_evaluation_in_a_group_finds_its_node(
    probe_bundle: Path, drive: Path, tmp_path: Path
) -> None:
    given = {'bag': drive, 'output': tmp_path / 'out', 'bundle': probe_bundle, 'lossless': 'True'}
    done = finished(group(tmp_path, 'evaluate', **given))
    assert done.returncode == 0, done.stdout
    assert '10 frames sent, 10 masks' in done.stdout


def test_capitalised_values_and_a_backend_reach_the_node(
    ros: Node, probe_bundle: Path, tmp_path: Path
) -> None:
    log = tmp_path / 'log'
    given = {'autostart': 'False', 'use_sim_time': 'TRUE', 'log_level': 'WARN'}
    with launched(log, bundle=probe_bundle, backend='null:10', **given):
        assert LifecycleClient(ros).state == 'unconfigured'
        client = ParameterClient(ros)
        assert client.get('backend') == 'null:10'
        assert client.get('use_sim_time') is True
    assert 'Runs ' not in log.read_text()


@pytest.mark.parametrize('file', ARGUMENTS)
def test_every_argument_is_described(file: str) -> None:
    command = [*launch(file), '--show-args']
    shown = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert shown.returncode == 0, shown.stderr
    for name in ARGUMENTS[file]:
        assert f"'{name}'" in shown.stdout


def test_the_demo_needs_no_home() -> None:
    command = [*launch('demo'), '--show-args']
    # As for a user that the system does not know.
    environment = {**os.environ, 'HOME': '~', 'ROS_LOG_DIR': tempfile.gettempdir()}
    shown = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert f'{tempfile.gettempdir()}/ros-{os.getuid()}/dgss/demo_drive' in shown.stdout
