"""One camera of the node, from the image that arrives to the masks that leave."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from dgss_core.labels import IGNORE, LabelSet
from dgss_core.segmenter import Prediction, Segmenter
from dgss_core.view import View
from dgss_ros.counters import FrameCounters, Stopwatch
from dgss_ros.mailbox import Mailbox
from dgss_ros.messages import stamp_ns, to_rgb
from dgss_ros.outputs import Outputs
from dgss_ros.parameters import Parameters


class Arrival(NamedTuple):
    """A message as it came, at `time_s` of the monotonic clock."""

    camera: Camera
    message: Image | CompressedImage
    time_s: float


@dataclass(frozen=True)
class Frame:
    """An image on its way to a mask.

    `image`: RGB uint8 (H, W, 3), the camera's own pixels; `prepared`: its view, upright, at
    network size.
    """

    camera: Camera
    header: Header
    image: np.ndarray
    view: View
    prepared: np.ndarray
    watch: Stopwatch


class Camera:
    """Subscription, slot, settings, outputs and counters of one camera.

    `name` is empty where the node has one camera without a name. A camera has no two frames in
    work at once, so what it keeps from frame to frame needs no lock.
    """

    def __init__(
        self, node: LifecycleNode, name: str, settings: Parameters, mailbox: Mailbox[Arrival]
    ) -> None:
        self.name = name
        self.slot = mailbox.slot()
        self.counters = FrameCounters()
        self._node = node
        self._prefix = f'~/{name}/' if name else '~/'
        self._settings = settings
        self._pace = Pace()
        self._subscription: Subscription | None = None
        self._outputs: Outputs | None = None

    @property
    def topic(self) -> str:
        """Where its images come from, remapped and whole."""
        compressed = self._settings['image_transport'] == 'compressed'
        return self._node.resolve_topic_name(
            f'{self._prefix}image/compressed' if compressed else f'{self._prefix}image'
        )

    def configure(self) -> None:
        self._outputs = Outputs(self._node, self._prefix)

    def activate(self) -> None:
        compressed = self._settings['image_transport'] == 'compressed'
        self._subscription = self._node.create_subscription(
            CompressedImage if compressed else Image,
            f'{self._prefix}image/compressed' if compressed else f'{self._prefix}image',
            self._receive,
            # Best effort matches every camera; depth 1 keeps old frames from queueing up.
            QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def deactivate(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def cleanup(self) -> None:
        self.deactivate()
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None

    def look(self, arrival: Arrival, segmenter: Segmenter) -> Frame | None:
        """Decode an image and prepare its view; None when it is older than `input.max_age_ms`.

        Raises DgssError for an image that cannot be used.
        """
        watch = Stopwatch(arrival.time_s)
        watch.lap('waiting')
        if self._is_too_old(arrival.message.header):
            self.counters.count_skipped()
            return None
        image = to_rgb(arrival.message)
        view = self._view()
        prepared = segmenter.prepare(view.apply(image))
        watch.lap('preparation')
        return Frame(self, arrival.message.header, image, view, prepared, watch)

    def answer(self, frame: Frame, prediction: Prediction, labels: LabelSet) -> None:
        """Refine a prediction at network size and publish it over the camera's own pixels."""
        frame.watch.lap('inference')
        prediction = self._refine(frame, prediction)
        prediction = self._lay_over(frame, prediction)
        assert self._outputs is not None, 'frames are answered between configure and cleanup'
        opacity = self._settings['overlay_opacity']
        self._outputs.publish(frame.header, frame.image, prediction, labels, opacity)
        frame.watch.lap('publication')
        self.counters.count_processed(frame.watch)

    def _refine(self, frame: Frame, prediction: Prediction) -> Prediction:
        """What happens to a prediction besides, upright and at network size as `frame.prepared`.

        The mask loses its label where the network is less certain than `confidence_threshold`.
        """
        least = self._settings['confidence_threshold'] * 255
        if least > 0:
            unsure = prediction.confidence < least
            mask = np.where(unsure, np.uint8(IGNORE), prediction.mask)
            prediction = replace(prediction, mask=mask)
        return prediction

    def _lay_over(self, frame: Frame, prediction: Prediction) -> Prediction:
        height, width = frame.image.shape[:2]

        def restore(upright: np.ndarray, fill: int) -> np.ndarray:
            return frame.view.restore(upright, width, height, fill)

        unsure = prediction.uncertainty
        return replace(
            prediction,
            mask=restore(prediction.mask, IGNORE),
            confidence=restore(prediction.confidence, 0),
            uncertainty=None if unsure is None else restore(unsure, 255),
        )

    def _receive(self, message: Image | CompressedImage) -> None:
        now = time.monotonic()
        if self._pace.admits(now, self._settings['input.max_rate']):
            self.slot.put(Arrival(self, message, now))
        else:
            self.counters.count_skipped()

    def _is_too_old(self, header: Header) -> bool:
        limit_ms = self._settings['input.max_age_ms']
        if not limit_ms or not stamp_ns(header):
            return False
        age = self._node.get_clock().now() - Time.from_msg(header.stamp)
        return age.nanoseconds > limit_ms * 1e6

    def _view(self) -> View:
        roi = self._settings.of_camera(self.name, 'roi')
        whole = not any(roi)
        return View(self._settings.of_camera(self.name, 'rotation'), None if whole else tuple(roi))


class Pace:
    """Lets at most so many pass per second, evenly also where the rates do not divide."""

    def __init__(self) -> None:
        self._due_s = 0.0

    def admits(self, now_s: float, rate_hz: float) -> bool:
        """Whether the one that comes now may pass; a rate of 0 lets all pass."""
        if not rate_hz:
            return True
        if now_s < self._due_s:
            return False
        period_s = 1 / rate_hz
        # On from when this one was due, unless that is long ago: nothing is to be caught up.
        self._due_s = max(self._due_s, now_s - period_s) + period_s
        return True
