"""`vision_msgs/LabelInfo` beside the masks of a camera, where vision_msgs is installed."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.publisher import Publisher

from dgss_core.labels import LabelSet
from dgss_ros.health.connections import NO_EVENTS
from dgss_ros.node.qos import LATCHED_QOS

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:
    LabelInfo = None


class LabelInfoOutput:
    """Publishes the classes and the threshold of the masks on `prefix` + `label_info`, latched.

    255 is no label, as vision_msgs has it for pixels of eight bits; it is not listed.
    """

    def __init__(self, node: Node, prefix: str) -> None:
        self._node = node
        self._publisher: Publisher | None = None
        self._last: tuple[LabelSet, float] | None = None
        if LabelInfo is not None:
            self._publisher = node.create_publisher(
                LabelInfo, f'{prefix}label_info', LATCHED_QOS, event_callbacks=NO_EVENTS
            )

    def publish(self, labels: LabelSet, threshold: float) -> None:
        """Publish what differs from the last time.

        `threshold`: confidence, 0 to 1, below which a pixel gets no label. Call it before the
        first mask that it applies to.
        """
        if self._publisher is None or (labels, threshold) == self._last:
            return
        self._last = labels, threshold
        message = LabelInfo(threshold=threshold)
        message.class_map = [
            VisionClass(class_id=label.id, class_name=label.name) for label in labels.labels
        ]
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def destroy(self) -> None:
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
