"""`/diagnostics` names what is wrong between the node and the nodes around it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from camera import Camera, DiagnosticsReader, flat
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import LivelinessPolicy, QoSProfile
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CameraInfo, Image
from streams import images_at

from dgss_ros.client.session import ros_session
from dgss_ros.health.connections import peer_name

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


def test_a_peer_whose_name_is_not_known_is_told_in_words() -> None:
    known, unknown = {'node_name': 'eye', 'node_namespace': '/veh'}, '_NODE_{}_UNKNOWN_'
    assert peer_name(TopicEndpointInfo(**known)) == '/veh/eye'
    nameless = [unknown.format(part) for part in ('NAME', 'NAMESPACE')]
    peer = TopicEndpointInfo(**dict(zip(known, nameless, strict=True)))
    assert peer_name(peer) == 'a node without a name'


def test_a_second_camera_driver_on_one_topic_is_named(
    start_node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    node = start_node(bundle=probe_bundle, autostart=True)
    diagnostics.wait('connections', lambda s, _: s.level == OK)
    with ros_session('eye') as eye, ros_session('eye') as twin:
        for driver in (eye, twin):
            driver.create_publisher(Image, '/dgss/image', 1)
        diagnostics.wait(
            'connections',
            lambda s, _: (
                s.level == WARN
                and s.message.startswith(
                    '3 nodes publish images on /dgss/image (/eye, /eye, /test)'
                )
                and 'remap the images of each' in s.message
            ),
        )
        node.lifecycle.deactivate()
        diagnostics.wait('connections', lambda s, _: s.level == OK)
        node.lifecycle.activate()
        diagnostics.wait('connections', lambda s, _: s.level == WARN)
    diagnostics.wait('connections', lambda s, _: s.level == OK)


def test_two_publishers_of_one_node_are_one_camera(
    start_node, probe_bundle: Path, ros: Node, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    start_node(bundle=probe_bundle, autostart=True)
    ros.create_publisher(Image, '/dgss/image', 1)
    camera.subscribe('mask')
    camera.connect()
    time.sleep(2.0)
    assert diagnostics.status['dgss: connections'].message == 'all peers match'


def test_peers_that_ask_for_a_deadline_or_a_liveliness_are_named(
    start_node, probe_bundle: Path, ros: Node, diagnostics: DiagnosticsReader
) -> None:
    start_node(bundle=probe_bundle, autostart=True)
    diagnostics.wait('connections', lambda s, _: s.level == OK)
    lease = Duration(seconds=3)
    for asked, sentence in (
        (
            {'deadline': Duration(nanoseconds=100_000_000)},
            'hear /dgss/mask (it promises no deadline of 0.1 s): let it ask for no deadline',
        ),
        ({'liveliness_lease_duration': lease}, 'it promises no lease of 3 s'),
        (
            {'liveliness': LivelinessPolicy.MANUAL_BY_TOPIC},
            'let it ask for automatic liveliness without a lease',
        ),
    ):
        heard: list[Image] = []
        qos = QoSProfile(depth=1, **asked)
        with ros_session('reader') as reader:
            reader.create_subscription(Image, '/dgss/mask', heard.append, qos)
            diagnostics.wait(
                'connections', lambda s, _, t=sentence: s.level == ERROR and t in s.message
            )
        diagnostics.wait('connections', lambda s, _: s.level == OK)
    # A stricter camera is heard.
    qos = QoSProfile(depth=1, deadline=lease, liveliness_lease_duration=lease)
    camera = Camera(ros, qos=qos)
    camera.subscribe('mask')
    camera.connect()
    time.sleep(1.5)
    assert diagnostics.status['dgss: connections'].level == OK


def test_a_calibration_that_is_missing_or_of_another_size_is_reported(
    start_node, probe_bundle: Path, ros: Node, diagnostics: DiagnosticsReader
) -> None:
    start_node(
        *('-r', '~/image:=/eye/image_raw', '-p', 'output.size:=network'),
        bundle=probe_bundle,
        autostart=True,
    )
    camera = Camera(ros, '/eye/image_raw')
    camera.subscribe('mask')
    time.sleep(2.5)
    assert diagnostics.status['dgss: connections'].level == OK, 'no image has come'
    camera.connect()
    with images_at(camera, 10.0):
        diagnostics.wait(
            'connections',
            lambda s, _: (
                s.level == WARN and s.message.startswith('no camera_info on /eye/camera_')
            ),
        )
        publisher = ros.create_publisher(CameraInfo, '/eye/camera_info', 1)

        def told(size: tuple[int, int], level: bytes, part: str) -> None:
            def judged(status: DiagnosticStatus, _: dict) -> bool:
                publisher.publish(CameraInfo(width=size[0], height=size[1]))
                time.sleep(0.1)
                return status.level == level and part in status.message

            diagnostics.wait('connections', judged)

        told((640, 480), WARN, 'is for 640x480, but the images are 64x48')
        told((64, 48), OK, '')


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
