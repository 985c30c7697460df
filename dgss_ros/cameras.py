"""One camera of the node, from the image that arrives to the masks that leave."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from dgss_core.encodings import Picture
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.monitoring.smoothing import TemporalSmoother
from dgss_core.segmenter import Prediction, Segmenter
from dgss_core.view import View
from dgss_ros.camera_info import InfoRelay
from dgss_ros.counters import FrameCounters, Stopwatch
from dgss_ros.mailbox import Mailbox
from dgss_ros.messages import stamp_ns, to_picture
from dgss_ros.outputs import Canvas, Outputs
from dgss_ros.parameters import Parameters
from dgss_ros.qos import subscribe
from dgss_ros.watch import CameraWatch

WATCH_HZ = 5.0
"""Weather and lenses change over seconds, and to watch a frame takes as long as all else the node
does with it."""


class Arrival(NamedTuple):
    """A message as it came, at `time_s` of the monotonic clock."""

    camera: Camera
    message: Image | CompressedImage
    time_s: float


@dataclass(frozen=True)
class Frame:
    """An image on its way to a mask.

    `picture`: the camera's own pixels; `prepared`: its view, upright, RGB uint8 at network size.
    """

    camera: Camera
    header: Header
    picture: Picture
    view: View
    prepared: np.ndarray
    watch: Stopwatch

    def canvas(self, as_camera: bool) -> Canvas:
        """The camera's own pixels, or those of network size, turned as the camera is."""
        if as_camera:
            return Canvas(self.picture.size, lambda: self.picture.rgb, self.view.restore)
        turn_back = self.view.turn_back
        picture = turn_back(self.prepared)
        return Canvas(
            picture.shape[1::-1],
            lambda: picture,
            lambda plane, _, out: np.copyto(out, turn_back(plane)),
        )


class Answer(NamedTuple):
    """An image, RGB uint8 (H, W, 3), with its mask, uint8 (H, W), and what made that."""

    header: Header
    image: np.ndarray
    mask: np.ndarray
    labels: LabelSet
    bundle: str


class Camera:
    """Subscription, slot, settings, outputs and counters of one camera.

    `name` is empty where the node has one camera without a name.
    """

    def __init__(
        self, node: LifecycleNode, name: str, settings: Parameters, mailbox: Mailbox[Arrival]
    ) -> None:
        self.name = name
        self.slot = mailbox.slot()
        self.counters = FrameCounters()
        self.watch = CameraWatch()
        self._smoother = TemporalSmoother()
        self._node = node
        self._prefix = f'~/{name}/' if name else '~/'
        self._settings = settings
        self._pace, self._looks = Pace(), Pace()
        self._subscription: Subscription | None = None
        self._outputs: Outputs | None = None
        self._info: InfoRelay | None = None
        self._kept: deque[tuple[Frame, Prediction, Segmenter]] = deque()
        self._answering = threading.Lock()
        self._last: tuple[Frame, Prediction, Segmenter] | None = None

    @property
    def topic(self) -> str:
        """Where its images come from, remapped and whole."""
        # The plain name is the one to remap, as with every image_transport subscriber.
        base = self._node.resolve_topic_name(f'{self._prefix}image')
        return self._node.resolve_topic_name(f'{base}/compressed') if self._is_compressed else base

    def configure(self) -> None:
        self._outputs = Outputs(self._node, self._prefix, self._settings['output.uncertainty'])
        if self._settings['output.size'] == 'network':
            self._info = InfoRelay(self._node, self._prefix)

    def activate(self) -> None:
        self.watch, self._smoother = CameraWatch(), TemporalSmoother()
        kind = CompressedImage if self._is_compressed else Image
        self._subscription = subscribe(self._node, kind, self.topic, self._take)
        if self._info is not None:
            self._info.activate()

    def deactivate(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
        if self._info is not None:
            self._info.deactivate()

    def cleanup(self) -> None:
        self.deactivate()
        self._last = None
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None
        if self._info is not None:
            self._info.destroy()
            self._info = None

    def look(self, arrival: Arrival, segmenter: Segmenter) -> Frame | None:
        """Decode an image and prepare its view; None when it is older than `input.max_age_ms`.

        Raises DgssError for an image that cannot be used.
        """
        watch = Stopwatch(arrival.time_s)
        watch.lap('waiting')
        if not self.admits(arrival.message.header):
            return None
        picture = to_picture(arrival.message)
        view = self._view()
        prepared = segmenter.prepare(view.apply(picture.pixels), picture.to_rgb)
        watch.lap('preparation')
        return Frame(self, arrival.message.header, picture, view, prepared, watch)

    def admits(self, header: Header) -> bool:
        """Whether an image is young enough for `input.max_age_ms`; else it counts as skipped."""
        limit_ms = self._settings['input.max_age_ms']
        age_s = self._age_s(header) if limit_ms else None
        if age_s is None or 1e3 * age_s <= limit_ms:
            return True
        self.counters.count_skipped()
        return False

    def keep(self, frame: Frame, prediction: Prediction, segmenter: Segmenter) -> None:
        """Take a prediction for `answer`, while no later frame can be in work."""
        frame.watch.lap('inference')
        self._kept.append((frame, prediction, segmenter))

    def answer(self) -> None:
        """Refine the oldest prediction that is kept, and publish it; once for each."""
        with self._answering:
            self._answer(*self._kept.popleft())

    def _answer(self, frame: Frame, prediction: Prediction, segmenter: Segmenter) -> None:
        """From a prediction at network size to planes over the camera's own pixels."""
        assert self._outputs is not None, 'frames are answered between configure and cleanup'
        if self._last is not None and self._last[2] is not segmenter:
            self._smoother = TemporalSmoother()  # the ids of another bundle may mean other classes
        refined = self._refine(frame, prediction)
        frame.watch.lap('refinement')
        self._last = (frame, refined, segmenter)
        canvas = frame.canvas(as_camera=self._info is None)
        if self._info is not None:
            self._info.publish(frame.header, frame.view, frame.picture.size, canvas.size)
        opacity = self._settings['overlay_opacity']
        self._outputs.publish(frame.header, canvas, refined, segmenter.labels, opacity)
        frame.watch.lap('publication')
        limit_ms = self._settings['watchdog.max_processing_time_ms']
        self.counters.count_processed(frame.watch, self._age_s(frame.header), limit_ms)
        if self._looks.admits(time.monotonic(), WATCH_HZ):  # only now that the mask is out
            distance = self.watch.see(frame.prepared, prediction, segmenter.bundle)
            if distance is not None:
                self._outputs.publish_domain_shift(distance)

    def last_answer(self) -> Answer | None:
        """The frame that was answered last, None before the first."""
        if self._last is None:
            return None
        frame, prediction, segmenter = self._last
        image = frame.picture.rgb
        mask = np.empty(image.shape[:2], np.uint8)
        frame.view.restore(prediction.mask, IGNORE, mask)
        return Answer(frame.header, image, mask, segmenter.labels, segmenter.bundle.identity)

    def _refine(self, frame: Frame, prediction: Prediction) -> Prediction:
        """What happens to a prediction besides, upright and at network size as `frame.prepared`.

        It is smoothed over time, then the mask loses its label where the confidence is below
        `confidence_threshold`.
        """
        prediction = self._smoother(
            frame.prepared,
            prediction,
            stamp_ns(frame.header),
            self._settings['smoothing.weight'],
            self._settings['smoothing.motion'],
        )
        least = self._settings['confidence_threshold'] * 255
        if least > 0:
            unsure = prediction.confidence < least
            mask = np.where(unsure, np.uint8(IGNORE), prediction.mask)
            prediction = replace(prediction, mask=mask)
        return prediction

    @property
    def _is_compressed(self) -> bool:
        return self._settings['image_transport'] == 'compressed'

    def _take(self, message: Image | CompressedImage) -> None:
        now = time.monotonic()
        if self._pace.admits(now, self._settings['input.max_rate']):
            self.slot.put(Arrival(self, message, now))
        else:
            self.counters.count_skipped()

    def _age_s(self, header: Header) -> float | None:
        """Seconds since the stamp by the node's clock, None for a stamp that tells no time."""
        stamp = stamp_ns(header)
        return (self._node.get_clock().now().nanoseconds - stamp) / 1e9 if stamp > 0 else None

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
