"""`/diagnostics` names what is wrong between the node and the nodes around it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

pytestmark = pytest.mark.ros
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

HUMBLE = """
import sys, types
import rclpy.lifecycle, rclpy.event_handler
sys.modules['rclpy.qos_event'] = types.SimpleNamespace(
    PublisherEventCallbacks=rclpy.event_handler.PublisherEventCallbacks)
sys.modules['rclpy.event_handler'] = None
import dgss_ros.segment_node
"""


def test_the_node_starts_where_rclpy_has_its_events_elsewhere() -> None:
    subprocess.run([sys.executable, '-c', HUMBLE], check=True, timeout=120)
