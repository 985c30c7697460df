"""The topics the node publishes."""

from __future__ import annotations

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from dgss_core.labels import LabelSet
from dgss_core.paint import overlay
from dgss_core.segmenter import Prediction
from dgss_ros.messages import to_image, to_labels

LATCHED_QOS = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class LabelOutputs:
    """`~/labels`, latched: the label set of every camera's masks."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(String, '~/labels', LATCHED_QOS)

    def publish(self, labels: LabelSet) -> None:
        self._publisher.publish(to_labels(labels))

    def destroy(self) -> None:
        self._node.destroy_publisher(self._publisher)


class Outputs:
    """`mask`, `confidence` and `overlay` of one camera, published while the node is active.

    `prefix` goes before their names: `~/` or `~/CAMERA/`. What nobody subscribes to is neither
    computed nor built.
    """

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        self._node = node
        self._prefix = prefix
        self._images: list[LifecyclePublisher] = []
        try:
            self._mask, self._confidence, self._overlay = map(
                self._create, ('mask', 'confidence', 'overlay')
            )
        except Exception:
            self.destroy()
            raise

    def publish(
        self,
        header: Header,
        image: np.ndarray,
        prediction: Prediction,
        labels: LabelSet,
        opacity: float,
    ) -> None:
        """Publish one frame under its own header. `image`: RGB uint8 (H, W, 3)."""
        if self._mask.get_subscription_count():
            self._mask.publish(to_image(header, prediction.mask, 'mono8'))
        if self._confidence.get_subscription_count():
            self._confidence.publish(to_image(header, prediction.confidence, 'mono8'))
        if self._overlay.get_subscription_count():
            painted = overlay(image, prediction.mask, labels, opacity)
            self._overlay.publish(to_image(header, painted, 'rgb8'))

    def destroy(self) -> None:
        for publisher in self._images:
            self._node.destroy_lifecycle_publisher(publisher)

    def _create(self, name: str) -> LifecyclePublisher:
        publisher = self._node.create_lifecycle_publisher(
            Image,
            self._prefix + name,
            # A new one each time: rclpy writes the overrides of a topic into the profile itself.
            QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._images.append(publisher)
        return publisher
