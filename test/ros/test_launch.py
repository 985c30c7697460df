"""`ros2 launch` as a user calls it. Elsewhere test_parameters.py covers what it passes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from camera import TIMEOUT_S, Camera, flat
from rclpy.node import Node

from dgss_ros.lifecycle import LifecycleClient
from dgss_ros.messages import to_mask
from dgss_ros.session import wait_until

pytestmark = [pytest.mark.ros, pytest.mark.ros_apt]


@pytest.fixture(autouse=True)
def installed() -> None:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    if shutil.which('ros2') is None:
        pytest.skip('needs the ros2 command (ros2launch)')
    try:
        get_package_prefix('dgss_ros')
    except (PackageNotFoundError, OSError):
        pytest.skip('dgss_ros is not in a sourced workspace; run colcon build and source it')


@contextmanager
def launched(log: Path, **arguments: object) -> Iterator[subprocess.Popen]:
    command = ['ros2', 'launch', 'dgss_ros', 'segment.launch.py']
    command += [f'{name}:={value}' for name, value in arguments.items()]
    with open(log, 'w') as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield process
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT_S) == 0, log.read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert 'Traceback' not in log.read_text(), log.read_text()
    assert 'process has finished cleanly' in log.read_text()


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


def test_the_parameter_file_has_its_say_where_no_bundle_is_named(
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


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    command = ['ros2', 'launch', 'dgss_ros', 'segment.launch.py', 'log_level:=loud']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert '"loud" is not valid' in done.stdout + done.stderr
    shown = subprocess.run([*command[:4], '--show-args'], capture_output=True, text=True)
    for name in ('image', 'bundle', 'params_file', 'namespace', 'autostart', 'log_level'):
        assert f"'{name}'" in shown.stdout
