"""`sensor_msgs/CameraInfo` for masks that are a cropped and resized part of their images."""

from __future__ import annotations

import time

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from dgss_core.images.view import View
from dgss_ros.health.connections import NO_EVENTS
from dgss_ros.node.qos import subscribe

PATIENCE_S = 2.0
"""How long images may come before their `camera_info`, or before one that fits."""


class InfoRelay:
    """Publishes a matching `~/camera_info` for masks that differ in size from their images."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        self._node = node
        self._prefix = prefix
        self._info: CameraInfo | None = None
        self._unfit: tuple[float, int, int] | None = None
        self._subscription: Subscription | None = None
        self._publisher = node.create_lifecycle_publisher(
            CameraInfo,
            f'{prefix}camera_info',
            QoSProfile(depth=1),
            event_callbacks=NO_EVENTS,
        )

    @property
    def topic(self) -> str:
        """The `camera_info` beside the image topic, where image_transport expects it.

        If that is the output topic of this node, it is `camera_info` below the image topic.
        """
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
        self._unfit = None

    def destroy(self) -> None:
        self.deactivate()
        self._node.destroy_lifecycle_publisher(self._publisher)

    def publish(
        self,
        header: Header,
        view: View,
        *,
        image_size: tuple[int, int],
        mask_size: tuple[int, int],
    ) -> None:
        """Publish the calibration of a mask, unless that of its camera is unknown.

        `image_size`, `mask_size`: (width, height) in pixels.
        """
        info = self._info
        width, height = image_size
        if info is None or not fits(info, width=width, height=height):
            begun_s = self._unfit[0] if self._unfit else time.monotonic()
            self._unfit = begun_s, width, height
            return
        self._unfit = None
        region = view.region(width=width, height=height)
        message = scaled(info, header, region, width=mask_size[0], height=mask_size[1])
        self._publisher.publish(message)

    def fault(self) -> str:
        """Return why the calibration of the masks is not published, and what to do.

        Empty while it is, before the first image, and for `PATIENCE_S` after the first that it
        does not fit.
        """
        unfit, info = self._unfit, self._info
        if unfit is None or time.monotonic() - unfit[0] < PATIENCE_S:
            return ''
        _, width, height = unfit
        if info is None:
            return (
                f'no camera_info on {self.topic}, so that masks at network size have no '
                f'calibration: let the camera driver publish it there, or remap {self.topic}'
            )
        if fits(info, width=width, height=height):
            return ''  # it came after the last image
        described = '{}x{}'.format(*described_size(info))
        return (
            f'the camera_info on {self.topic} is for {described}, but the images are '
            f'{width}x{height}, so that masks at network size have no calibration: let the camera '
            'driver publish that of its images'
        )

    def _take(self, message: CameraInfo) -> None:
        self._info = message


def fits(info: CameraInfo, *, width: int, height: int) -> bool:
    """Return whether `info` describes images of this size, after binning and ROI (REP-104)."""
    whole = (info.roi.width or info.width, info.roi.height or info.height)
    return whole == (width * max(1, info.binning_x), height * max(1, info.binning_y))


def described_size(info: CameraInfo) -> tuple[int, int]:
    """Return (width, height) of the images that `info` describes, as in `fits`."""
    width, height = info.roi.width or info.width, info.roi.height or info.height
    return width // max(1, info.binning_x), height // max(1, info.binning_y)


def scaled(
    info: CameraInfo,
    header: Header,
    region: tuple[int, int, int, int],
    *,
    width: int,
    height: int,
) -> CameraInfo:
    """Return the calibration of `region` (x, y, width, height) of the images, resized.

    `width`, `height`: the new size of the region. The matrices of the result include the binning
    and the region of interest of the camera, and the result has neither.
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
    """Return the matrix that crops at (left, top) and then scales.

    Pixel centres lie at integers: 0 is mapped to scale / 2 - 1/2.
    """
    return np.array(
        [
            [scale_x, 0, scale_x * (0.5 - left) - 0.5],
            [0, scale_y, scale_y * (0.5 - top) - 0.5],
            [0, 0, 1],
        ]
    )
