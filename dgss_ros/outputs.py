"""The topics the node publishes."""

from __future__ import annotations

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
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


class Outputs:
    """`~/mask`, `~/confidence` and `~/overlay` while the node is active, and `~/labels` latched.

    What nobody subscribes to is neither computed nor built.
    """

    def __init__(self, node: LifecycleNode, labels: LabelSet) -> None:
        self._node = node
        self._labels = labels
        self._images: list[LifecyclePublisher] = []
        self._label_set = node.create_publisher(String, '~/labels', LATCHED_QOS)
        try:
            self._mask, self._confidence, self._overlay = map(
                self._create, ('mask', 'confidence', 'overlay')
            )
        except Exception:
            self.destroy()
            raise
        self._label_set.publish(to_labels(labels))

    def publish(
        self, header: Header, image: np.ndarray, prediction: Prediction, opacity: float
    ) -> None:
        """Publish one frame under its own header. `image`: RGB uint8 (H, W, 3)."""
        if self._mask.get_subscription_count():
            self._mask.publish(to_image(header, prediction.mask, 'mono8'))
        if self._confidence.get_subscription_count():
            self._confidence.publish(to_image(header, prediction.confidence, 'mono8'))
        if self._overlay.get_subscription_count():
            painted = overlay(image, prediction.mask, self._labels, opacity)
            self._overlay.publish(to_image(header, painted, 'rgb8'))

    def destroy(self) -> None:
        for publisher in self._images:
            self._node.destroy_lifecycle_publisher(publisher)
        self._node.destroy_publisher(self._label_set)

    def _create(self, name: str) -> LifecyclePublisher:
        publisher = self._node.create_lifecycle_publisher(
            Image,
            f'~/{name}',
            # A new one each time: rclpy writes the overrides of a topic into the profile itself.
            QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._images.append(publisher)
        return publisher
