"""One camera of the node, from its images to its published masks."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from dgss_core.images.view import View
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.runtime.monitoring.smoothing import TemporalSmoother
from dgss_core.runtime.prediction import Prediction
from dgss_core.runtime.segmenter import Segmenter
from dgss_ros.health.camera import CameraHealth
from dgss_ros.health.connections import unheard, where_images
from dgss_ros.health.counters import Stopwatch
from dgss_ros.health.gaps import StampGaps
from dgss_ros.health.watch import CameraWatch
from dgss_ros.node.answers import Answers
from dgss_ros.node.camera_info import InfoRelay
from dgss_ros.node.frames import Answer, CameraFrame
from dgss_ros.node.label_info import LabelInfoOutput
from dgss_ros.node.mailbox import Mailbox
from dgss_ros.node.messages import stamp_ns
from dgss_ros.node.outputs import Outputs
from dgss_ros.node.pace import Pace
from dgss_ros.node.reception import PROFILE_REMEDY, Reception
from dgss_ros.parameters.values import Parameters

WATCH_HZ = 5.0
"""Weather and lenses change over seconds, and watching a frame costs as much as all other work of
the node on it."""


class Arrival(NamedTuple):
    """An image message and its arrival time, `time_s` in seconds of the monotonic clock."""

    camera: Camera
    message: Image | CompressedImage
    time_s: float


class Camera:
    """Prepares the frames of one camera for the network, and publishes its masks.

    The pipeline uses `prepare`, `admits`, `answers`, `slot` and `health`. `labels`: the label set
    that was published last; an answer with another one is dropped. `name` is empty for the camera
    of a node that has one camera without a name.
    """

    def __init__(
        self, node: LifecycleNode, name: str, settings: Parameters, mailbox: Mailbox[Arrival]
    ) -> None:
        self.name = name
        self.labels: LabelSet | None = None
        self.slot = mailbox.slot()
        self.health = CameraHealth(
            name,
            lambda: self.topic,
            self.slot,
            self._clock_fault,
            self._where_images,
            self._absence,
            self._loss_remedy,
            self._adapts,
            lambda: self._info.fault() if self._info is not None else '',
        )
        self._last_age_s: float | None = None
        self.answers: Answers[Answer] = Answers(self._publish)
        self._smoother = TemporalSmoother()
        self._node = node
        self._prefix = f'~/{name}/' if name else '~/'
        self._settings = settings
        self._arrival_pace, self._watch_pace = Pace(), Pace()
        self._reception: Reception | None = None
        self._outputs: Outputs | None = None
        self._label_info: LabelInfoOutput | None = None
        self._info: InfoRelay | None = None
        self._last: Answer | None = None

    @property
    def topic(self) -> str:
        """The full name of the image topic, after remapping."""
        # As in image_transport, remapping applies to the name without /compressed.
        base = self._node.resolve_topic_name(f'{self._prefix}image')
        return self._node.resolve_topic_name(f'{base}/compressed') if self._is_compressed else base

    def configure(self) -> None:
        self._outputs = Outputs(self._node, self._prefix, self._settings['output.uncertainty'])
        self._label_info = LabelInfoOutput(self._node, self._prefix)
        if self._settings['output.size'] == 'network':
            self._info = InfoRelay(self._node, self._prefix)

    def activate(self) -> None:
        self.health.watch, self._smoother = CameraWatch(), TemporalSmoother()
        self.health.gaps, self._last_age_s = StampGaps(), None
        kind = CompressedImage if self._is_compressed else Image
        self._reception = Reception(
            self._node, kind, self.topic, self._take, self._settings['input.reliability']
        )
        self._reception.start()
        if self._info is not None:
            self._info.activate()

    def deactivate(self) -> None:
        if self._reception is not None:
            self._reception.stop()
            self._reception = None
        if self._info is not None:
            self._info.deactivate()

    def cleanup(self) -> None:
        self.deactivate()
        self._last = None
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None
        if self._label_info is not None:
            self._label_info.destroy()
            self._label_info = None
        if self._info is not None:
            self._info.destroy()
            self._info = None

    def announce(self, labels: LabelSet) -> None:
        """Publish the label set of the masks that follow."""
        self.labels = labels
        if self._label_info is not None:
            self._label_info.publish(labels, self._settings['confidence_threshold'])

    def prepare(self, arrival: Arrival, segmenter: Segmenter) -> CameraFrame | None:
        """Return the frame for the network; None when the image is older than allowed.

        Raises DgssError for an unusable image.
        """
        stopwatch = Stopwatch(arrival.time_s)
        stopwatch.lap('waiting')
        if not self.admits(arrival.message.header):
            return None
        return CameraFrame.prepare(arrival.message, self._view(), segmenter, stopwatch)

    @property
    def last_answer(self) -> Answer | None:
        """The answer that was published last, None before the first."""
        return self._last

    def _publish(self, answer: Answer) -> None:
        """Refine a prediction, resize it to the image, publish it and count the frame."""
        frame, prediction, segmenter = answer
        if self._outputs is None or segmenter.labels != self.labels:
            self.slot.drop()  # its frame left the network after a cleanup or a change of labels
            return
        if self._last is not None and self._last.segmenter is not segmenter:
            self._smoother = TemporalSmoother()  # ids of another bundle may be other classes
        threshold = self._settings['confidence_threshold']
        refined = self._refine(frame, prediction, threshold)
        frame.stopwatch.lap('refinement')
        self._last = Answer(frame, refined, segmenter)
        canvas = frame.canvas(as_camera=self._info is None)
        if self._info is not None:
            self._info.publish(
                frame.header, frame.view, image_size=frame.picture.size, mask_size=canvas.size
            )
        if self._label_info is not None:
            self._label_info.publish(segmenter.labels, threshold)
        opacity = self._settings['overlay_opacity']
        self._outputs.publish(frame.header, canvas, refined, segmenter.labels, opacity)
        frame.stopwatch.lap('publication')
        limit_ms = self._settings['watchdog.max_processing_time_ms']
        age_s = self._age_s(frame.header)
        self.health.counters.count_processed(frame.stopwatch, age_s, limit_ms)
        # After publication, so that watching delays no mask.
        if self._watch_pace.admits(time.monotonic(), WATCH_HZ):
            distance = self.health.watch.update(frame.prepared, prediction, segmenter.bundle)
            if distance is not None:
                self._outputs.publish_domain_shift(distance)

    def _refine(self, frame: CameraFrame, prediction: Prediction, threshold: float) -> Prediction:
        """Smooth a prediction over time, then drop labels whose confidence is below `threshold`.

        Both predictions are upright and at network size, like `frame.prepared`.
        """
        prediction = self._smoother(
            frame.prepared,
            prediction,
            stamp_ns(frame.header),
            self._settings['smoothing.weight'],
            self._settings['smoothing.motion'],
        )
        least = threshold * 255
        if least > 0:
            unsure = prediction.confidence < least
            mask = np.where(unsure, np.uint8(IGNORE), prediction.mask)
            prediction = replace(prediction, mask=mask)
        return prediction

    @property
    def _is_compressed(self) -> bool:
        return self._settings['image_transport'] == 'compressed'

    def _take(self, message: Image | CompressedImage) -> None:
        now, rate_hz = time.monotonic(), self._settings['input.max_rate']
        self.health.gaps.add(stamp_ns(message.header))
        if self._arrival_pace.admits(now, rate_hz):
            self.slot.put(Arrival(self, message, now))
        else:
            self.health.counters.count_skipped(f'input.max_rate is {rate_hz:g}')

    def admits(self, header: Header) -> bool:
        """Return whether an image is within `input.max_age_ms`; count it as skipped if not."""
        limit_ms = self._settings['input.max_age_ms']
        age_s = self._last_age_s = self._age_s(header) if limit_ms else None
        if age_s is None or 1e3 * age_s <= limit_ms:
            return True
        self.health.counters.count_skipped(
            f"the last was {age_s:.1f} s old by the node's clock and input.max_age_ms is "
            f'{limit_ms:g}; check the clock of the camera, or use_sim_time',
            too_old=True,
        )
        return False

    def _clock_fault(self) -> str:
        """Return why ages mean nothing, with the fix; empty while they do."""
        is_simulated = self._node.get_parameter('use_sim_time').value
        if is_simulated and self._node.get_clock().now().nanoseconds == 0:
            return (
                'use_sim_time is set, but no time was heard on /clock; play the bag with --clock, '
                'or set use_sim_time to false'
            )
        age_s, limit_ms = self._last_age_s, self._settings['input.max_age_ms']
        # A simulation may jump back behind the stamps of its images.
        if not is_simulated and limit_ms and age_s is not None and 1e3 * age_s < -limit_ms:
            return (
                f"the stamp of the last image lies {-age_s:.1f} s ahead of the node's clock, so "
                'input.max_age_ms finds no image too old; check the clock of the camera, or '
                'use_sim_time'
            )
        return ''

    def _where_images(self) -> str:
        name = f'{self._prefix}image'
        return where_images(self._node, self.topic, name, is_compressed=self._is_compressed)

    def _absence(self) -> str:
        """Return why images may not arrive, and what to do."""
        if elsewhere := self._where_images():
            return elsewhere
        publishers = self._node.count_publishers(self.topic)
        faults = list(unheard(self._node, self.topic, adapts=self._adapts()))
        if faults and len(faults) >= publishers:
            return faults[0]
        if publishers:
            # A camera that pauses looks the same.
            return (
                'Its publisher sends nothing, or its images are lost on the way; '
                f'{self._loss_remedy()}'
            )
        return 'Check that the camera runs, or remap the image to its topic'

    def _loss_remedy(self) -> str:
        return PROFILE_REMEDY if self._reception is None else self._reception.loss_remedy()

    def _adapts(self) -> bool:
        return self._reception is not None and self._reception.adapts

    def _age_s(self, header: Header) -> float | None:
        """Return the seconds since the stamp by the node's clock; None for a stamp up to 0."""
        stamp = stamp_ns(header)
        return (self._node.get_clock().now().nanoseconds - stamp) / 1e9 if stamp > 0 else None

    def _view(self) -> View:
        roi = self._settings.of_camera(self.name, 'roi')
        whole = not any(roi)
        return View(self._settings.of_camera(self.name, 'rotation'), None if whole else tuple(roi))
