"""`/diagnostics` names what is wrong between the node and the nodes around it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from camera import Camera, DiagnosticsReader, flat
from diagnostic_msgs.msg import DiagnosticStatus
from streams import images_at

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


def test_a_camera_that_is_not_listened_to_has_no_faults(
    start_node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    node = start_node(bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    tasks = ('input quality', 'mask', 'domain shift')
    with images_at(camera, 10.0, np.zeros_like(flat(0))):
        for task in tasks[:2]:
            diagnostics.wait(task, lambda s, _: s.level == WARN)
    for change, state in (
        (node.lifecycle.deactivate, 'inactive'),
        (node.lifecycle.cleanup, 'unconfigured'),
    ):
        change()
        for task in tasks:
            diagnostics.wait(
                task,
                lambda s, v, t=state: (
                    (s.level, s.message, v) == (OK, f'no frames are taken while {t}', {})
                ),
            )
