"""An illegal transition ends no node, also where rclpy has another name for what we override."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from camera import Camera, flat
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.node import Node

from dgss_core.errors import DgssError
from dgss_ros.client.lifecycle import LifecycleClient
from dgss_ros.client.session import call

pytestmark = pytest.mark.ros
SCRIPT = Path(__file__).parents[2] / 'support' / 'without_hook.py'
UNANSWERED_S = 1.0


def test_the_node_lives_on(ros: Node, probe_bundle: Path, camera: Camera, tmp_path: Path) -> None:
    log = tmp_path / 'log'
    command = [sys.executable, str(SCRIPT), '--ros-args', '-p', f'bundle:={probe_bundle}']
    with open(log, 'w') as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        lifecycle = LifecycleClient(ros)
        assert lifecycle.state == 'unconfigured'
        change = ros.create_client(ChangeState, '/dgss/change_state')
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
        # This rclpy raises instead of answering; nothing but its own code could change that.
        with pytest.raises(DgssError, match='did not answer'):
            call(change, request, UNANSWERED_S)
        assert 'RCLError' in log.read_text()
        lifecycle.configure()
        lifecycle.activate()
        camera.subscribe('mask')
        camera.connect()
        camera.answer(flat(1))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
