"""The topics the node publishes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32, Header, String

from dgss_core.images.paint import colorize, overlay
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.runtime.segmenter import Prediction
from dgss_ros.health.connections import NO_EVENTS
from dgss_ros.node.messages import to_image, to_jpeg, to_labels, to_mask, to_png
from dgss_ros.node.qos import LATCHED_QOS

OUTSIDE = {'mask': IGNORE, 'confidence': 0, 'uncertainty': 255}
"""The planes of a prediction, and their values outside the region of interest."""


class LabelOutputs:
    """Publishes the label set of the masks of all cameras: latched JSON, on `~/labels`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._labels = node.create_publisher(
            String, '~/labels', LATCHED_QOS, event_callbacks=NO_EVENTS
        )

    def publish(self, labels: LabelSet) -> None:
        self._labels.publish(to_labels(labels))

    def destroy(self) -> None:
        self._node.destroy_publisher(self._labels)


class Canvas(NamedTuple):
    """The image area that the planes of a prediction are resized to.

    `size`: (width, height). `picture()`: returns RGB uint8 (height, width, 3).
    `place(plane, outside, out)`: writes a plane of the prediction into `out`, uint8
    (height, width), with the value `outside` around the region of interest.
    """

    size: tuple[int, int]
    picture: Callable[[], np.ndarray]
    place: Callable[[np.ndarray, int, np.ndarray], None]


class Outputs:
    """Publishers of the topics of one camera, which publish while the node is active.

    The topics are `mask`, `confidence` and, if `uncertainty` is set, `uncertainty`; the images
    `overlay` and `color_mask`, each raw and compressed; and `domain_shift`. `prefix` precedes
    their names: `~/` or `~/CAMERA/`. A message without a subscriber is not built.
    """

    def __init__(self, node: LifecycleNode, prefix: str, uncertainty: bool = False) -> None:
        self._node = node
        self._prefix = prefix
        self._publishers: dict[str, LifecyclePublisher] = {}
        self._planes: dict[str, Image] = {}
        try:
            for name in OUTSIDE if uncertainty else ('mask', 'confidence'):
                self._create(Image, name)
            for name in ('overlay', 'color_mask'):
                self._create(Image, name)
                self._create(CompressedImage, f'{name}/compressed')
            self._create(Float32, 'domain_shift')
        except Exception:
            self.destroy()
            raise

    def publish(
        self,
        header: Header,
        canvas: Canvas,
        prediction: Prediction,
        labels: LabelSet,
        opacity: float,
    ) -> None:
        """Publish the answer to one frame with the header of its image."""
        placed: dict[str, Image] = {}

        def place(name: str) -> Image:
            if name not in placed:
                placed[name] = self._plane(name, header, canvas.size)
                plane = getattr(prediction, name)
                canvas.place(plane, OUTSIDE[name], to_mask(placed[name]))
            return placed[name]

        for name in OUTSIDE:
            if self._wanted(name) and getattr(prediction, name) is not None:
                self._publishers[name].publish(place(name))
        self._publish_picture(
            header,
            'overlay',
            to_jpeg,
            lambda: overlay(canvas.picture(), to_mask(place('mask')), labels, opacity),
        )
        # PNG keeps flat colours and sharp borders exactly, in small files.
        self._publish_picture(
            header, 'color_mask', to_png, lambda: colorize(to_mask(place('mask')), labels)
        )

    def publish_domain_shift(self, distance: float) -> None:
        """Publish the distance from the source, in standard deviations of the source."""
        if self._wanted('domain_shift'):
            self._publishers['domain_shift'].publish(Float32(data=distance))

    def destroy(self) -> None:
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)

    def _plane(self, name: str, header: Header, size: tuple[int, int]) -> Image:
        """Return the message of a plane with this header; its pixels are to be overwritten."""
        # Reuse the buffer: a fresh one takes twice as long because of page faults.
        message = self._planes.get(name)
        if message is None or (message.width, message.height) != size:
            message = to_image(header, np.zeros(size[::-1], np.uint8), 'mono8')
            self._planes[name] = message
        message.header = header
        return message

    def _publish_picture(
        self,
        header: Header,
        name: str,
        compress: Callable[[Header, np.ndarray], CompressedImage],
        paint: Callable[[], np.ndarray],
    ) -> None:
        raw, compressed = self._wanted(name), self._wanted(f'{name}/compressed')
        if not raw and not compressed:
            return
        picture = paint()
        if raw:
            self._publishers[name].publish(to_image(header, picture, 'rgb8'))
        if compressed:
            self._publishers[f'{name}/compressed'].publish(compress(header, picture))

    def _wanted(self, name: str) -> bool:
        publisher = self._publishers.get(name)
        return publisher is not None and publisher.get_subscription_count() > 0

    def _create(self, kind: Any, name: str) -> None:
        self._publishers[name] = self._node.create_lifecycle_publisher(
            kind,
            self._prefix + name,
            # One profile per publisher: rclpy writes the overrides of the topic into it.
            QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            event_callbacks=NO_EVENTS,
        )
