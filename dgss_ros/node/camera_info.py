"""`sensor_msgs/CameraInfo` for a picture that was cut out of the camera's and resized."""

from __future__ import annotations

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from dgss_core.images.view import View
from dgss_ros.node.qos import subscribe


class InfoRelay:
    """Gives masks of another size than their images a `camera_info` of their own."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        self._node = node
        self._prefix = prefix
        self._info: CameraInfo | None = None
        self._subscription: Subscription | None = None
        self._publisher = node.create_lifecycle_publisher(
            CameraInfo, f'{prefix}camera_info', QoSProfile(depth=1)
        )

    @property
    def topic(self) -> str:
        """Beside the images, as image_transport has it, unless our own lies there already."""
        image = self._node.resolve_topic_name(f'{self._prefix}image')
        beside = f'{image.rpartition("/")[0]}/camera_info'
        own = self._node.resolve_topic_name(f'{self._prefix}camera_info')
        return f'{image}/camera_info' if beside == own else beside

    def activate(self) -> None:
        self._subscription = subscribe(self._node, CameraInfo, self.topic, self._take)

    def deactivate(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def destroy(self) -> None:
        self.deactivate()
        self._node.destroy_lifecycle_publisher(self._publisher)

    def publish(
        self, header: Header, view: View, image: tuple[int, int], mask: tuple[int, int]
    ) -> None:
        """Tell how the pixels of the mask lie in the world; nothing while that is not known.

        `image`, `mask`: width and height of both.
        """
        info = self._info
        if info is not None and fits(info, *image):
            region = view.region(width=image[0], height=image[1])
            self._publisher.publish(scaled(info, header, region, *mask))

    def _take(self, message: CameraInfo) -> None:
        self._info = message


def fits(info: CameraInfo, width: int, height: int) -> bool:
    """Whether `info` describes images of this size, as they leave the camera (REP-104)."""
    whole = (info.roi.width or info.width, info.roi.height or info.height)
    return whole == (width * max(1, info.binning_x), height * max(1, info.binning_y))


def scaled(
    info: CameraInfo, header: Header, region: tuple[int, int, int, int], width: int, height: int
) -> CameraInfo:
    """The calibration of `region` (x, y, width, height) of the images, resized to this size.

    The camera's own binning and region are taken into the matrices, so that the result stands
    for itself.
    """
    scale_x = width / region[2]
    scale_y = height / region[3]
    to_mask = _zoom(scale_x, scale_y, region[0], region[1]) @ _zoom(
        1 / max(1, info.binning_x),
        1 / max(1, info.binning_y),
        info.roi.x_offset,
        info.roi.y_offset,
    )
    return CameraInfo(
        header=header,
        width=width,
        height=height,
        distortion_model=info.distortion_model,
        d=info.d,
        k=(to_mask @ np.reshape(info.k, (3, 3))).ravel(),
        r=info.r,
        p=(to_mask @ np.reshape(info.p, (3, 4))).ravel(),
        roi=RegionOfInterest(do_rectify=info.roi.do_rectify),
    )


def _zoom(scale_x: float, scale_y: float, left: float, top: float) -> np.ndarray:
    """Cut at (left, top), then scale. Pixel centres lie at integers: 0 goes to scale / 2 - 1/2."""
    return np.array(
        [
            [scale_x, 0, scale_x * (0.5 - left) - 0.5],
            [0, scale_y, scale_y * (0.5 - top) - 0.5],
            [0, 0, 1],
        ]
    )
