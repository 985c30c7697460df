"""config/nav2/semantic_layer.yaml, by the subscriptions that Nav2's semantic layer makes.

Re-enacted from semantic_segmentation_layer.cpp and segmentation_buffer.cpp of its branch jazzy:
masks, confidences and clouds with the QoS of sensors and depth 50, label info reliable and
transient local with depth 5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2, PointField

from dgss_core.runtime.bundle import open_bundle
from dgss_ros.client.session import wait_until
from dgss_ros.node.messages import stamp_ns, to_mask

pytestmark = pytest.mark.ros
FILE = Path(__file__).parents[3] / 'config' / 'nav2' / 'semantic_layer.yaml'
SENSOR = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def source() -> dict[str, Any]:
    """The parameters of the observation source."""
    costmap = yaml.safe_load(FILE.read_text())['local_costmap']['local_costmap']
    layer = costmap['ros__parameters']['semantic_layer']
    return layer[layer['observation_sources']]


def groups(source: dict[str, Any]) -> dict[str, list[str]]:
    return {kind: source[kind]['classes'] for kind in source['class_types']}


def test_every_class_of_the_embedded_bundle_is_in_one_group(source: dict[str, Any]) -> None:
    grouped = [name for names in groups(source).values() for name in names]
    assert sorted(grouped) == sorted(open_bundle().labels.names)


def test_the_groups_get_their_costs(source: dict[str, Any]) -> None:
    for kind in source['class_types']:
        assert 0 <= source[kind]['base_cost'] <= source[kind]['max_cost'] <= 254
        assert 0 <= source[kind]['mark_confidence'] <= 255


def cloud(header: Any, height: int, width: int) -> PointCloud2:
    """A point per pixel."""
    points = np.ones((height, width, 3), np.float32)
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate('xyz')
    ]
    return PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=fields,
        point_step=12,
        row_step=12 * width,
        data=points.tobytes(),
    )


def test_the_layer_gets_sets_of_one_stamp_and_size(
    start_node,
    ros: Node,
    probe_bundle: Path,
    diagnostics: DiagnosticsReader,
    source: dict[str, Any],
) -> None:
    camera = Camera(ros, '/camera/image_raw')
    node = start_node(
        *('--params-file', str(FILE), '-r', '~/image:=/camera/image_raw'), bundle=probe_bundle
    )
    node.lifecycle.configure()
    node.lifecycle.activate()
    sets: dict[str, dict[int, Any]] = {}
    for name, kind in (
        ('segmentation_topic', Image),
        ('confidence_topic', Image),
        ('pointcloud_topic', PointCloud2),
    ):
        found = sets[name] = {}

        def keep(message: Any, found: dict[int, Any] = found) -> None:
            found[stamp_ns(message.header)] = message

        ros.create_subscription(kind, source[name], keep, SENSOR)
    clouds = ros.create_publisher(PointCloud2, source['pointcloud_topic'], SENSOR)
    camera.subscribe('mask', 'confidence')
    camera.connect()
    stamps = []
    for identity in range(3):
        image = camera.answer(flat(16 * identity, 200, size=(80, 60)))['mask']
        clouds.publish(cloud(image.header, 60, 80))
        stamps.append(stamp_ns(image.header))
    assert wait_until(lambda: all(f.keys() >= set(stamps) for f in sets.values()), TIMEOUT_S)
    for identity, stamp in enumerate(stamps):
        mask, confidence, points = (found[stamp] for found in sets.values())
        assert mask.encoding == confidence.encoding == 'mono8'
        assert (mask.height, mask.width) == (points.height, points.width) == (60, 80)
        # The layer indexes data[row * width + column].
        assert mask.step == mask.width
        assert np.unique(to_mask(mask)).tolist() == [identity]
    for task in ('connections', 'parameters'):
        diagnostics.wait(task, lambda s, _: s.level == DiagnosticStatus.OK)


def test_the_layer_knows_every_class_of_the_label_info(
    start_node, ros: Node, probe_bundle: Path, source: dict[str, Any]
) -> None:
    messages_of = pytest.importorskip(
        'vision_msgs.msg', reason='needs vision_msgs, which has no wheel on PyPI: source ROS 2'
    )
    node = start_node('--params-file', str(FILE), bundle=probe_bundle)
    node.lifecycle.configure()
    heard: list[Any] = []
    ros.create_subscription(messages_of.LabelInfo, source['labels_topic'], heard.append, LATCHED)
    assert wait_until(lambda: bool(heard), TIMEOUT_S), 'the layer comes late, and waits for it'
    grouped = {name for names in groups(source).values() for name in names}
    assert {entry.class_name for entry in heard[-1].class_map} == grouped
    assert heard[-1].threshold == pytest.approx(0.4)
