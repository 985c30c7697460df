"""`/diagnostics` says why no images arrive from a camera that is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from camera import TIMEOUT_S, Camera, DiagnosticsReader
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String
from streams import images_at

from dgss_ros.client.session import ros_session, wait_until
from dgss_ros.health.connections import where_images
from dgss_ros.parameters.values import reliability_override

pytestmark = pytest.mark.ros
WARN, ERROR = DiagnosticStatus.WARN, DiagnosticStatus.ERROR
LOST = (
    'Its publisher sends nothing, or its images are lost on the way; its publisher is reliable: '
    'set input.reliability to auto, or give the camera driver the transport profile '
    '(docs/deploy.md, Transport)'
)


def test_images_may_be_lost_on_the_way_from_a_publisher_that_is_there(
    start_node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    start_node(bundle=probe_bundle, autostart=True)
    diagnostics.wait(
        'frames', lambda s, _: s.level == WARN and s.message.startswith('no image on /dgss/image')
    )
    diagnostics.wait('frames', lambda s, _: s.message.endswith(f' s. {LOST}'))


def test_images_that_come_rarely_are_not_blamed_on_the_network(
    start_node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    start_node('-p', 'watchdog.max_delay_ms:=100.0', bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    # At 2 Hz the node, which looks once a second, may always look just after an image, when the
    # delay is over and its reason gone.
    with images_at(camera, 1.7):
        diagnostics.wait(
            'frames',
            lambda s, _: (
                s.level == ERROR
                and s.message.endswith(f'images on /dgss/image come too rarely. {LOST}')
            ),
        )


def test_a_publisher_that_cannot_be_heard_is_named(
    start_node, ros: Node, probe_bundle: Path, diagnostics: DiagnosticsReader
) -> None:
    Camera(ros, qos=QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    override = f'{reliability_override("/dgss/image")}:=reliable'
    start_node('-p', override, bundle=probe_bundle, autostart=True)
    diagnostics.wait(
        'frames',
        lambda s, _: s.level == WARN and '/test cannot be heard on /dgss/image' in s.message,
    )


def test_the_images_of_a_segmentation_node_are_no_camera(ros: Node) -> None:
    ros.create_publisher(Image, '/test/color_mask', 1)
    ros.create_publisher(String, '/test/labels', 1)

    def found() -> str:
        return where_images(reader, '/camera/image', '~/image', is_compressed=False)

    with ros_session('reader') as reader, ros_session('driver') as driver:
        assert wait_until(lambda: reader.count_publishers('/test/labels') == 1, TIMEOUT_S)
        assert wait_until(lambda: reader.count_publishers('/test/color_mask') == 1, TIMEOUT_S)
        assert wait_until(lambda: found() == '', TIMEOUT_S)
        driver.create_publisher(Image, '/eye/image', 1)
        expected = 'Nobody publishes /camera/image, but there is /eye/image: remap ~/image'
        assert wait_until(lambda: found() == expected, TIMEOUT_S)
