"""Turns arrivals into answers, on the worker threads."""

from __future__ import annotations

import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Awaitable, Callable

from rclpy.node import Node

from dgss_core.errors import DgssError, one_line
from dgss_core.runtime.segmenter import Prediction, Segmenter
from dgss_ros.node.cameras import Arrival, Camera
from dgss_ros.node.frames import Answer, CameraFrame
from dgss_ros.node.mailbox import Mailbox, Workers
from dgss_ros.node.pace import Pace

LOG_PERIOD_S = 5.0
"""Between two messages of one kind about one camera."""
STOP_S, END_S = 10.0, 2.0
"""Longest wait for the batches in work when the workers stop; `END_S` when the process ends."""
Frames = list[tuple[Camera, CameraFrame]]

LOGGED = 10_000
"""Longest text of an exception in the log, in characters."""

FAILURES_TO_RECOVER = 5
"""Number of failed batches in a row after which `recover` is called, on the executor."""


class StuckError(DgssError):
    """A batch does not return from the network: its memory may not be freed."""


class Pipeline:
    """Takes batches from `mailbox`, runs the segmenter on them and makes the cameras answer.

    While the network works on one image, the previous masks are published and an image of another
    camera is prepared. A newer image of that camera replaces the prepared one.

    An error is logged and counted at the cameras of its frames; the next image is answered.
    The log names the topic of each. `recover` gets the segmenter that fails.
    """

    def __init__(
        self,
        node: Node,
        mailbox: Mailbox[Arrival],
        segmenter: Segmenter,
        recover: Callable[[Segmenter], Awaitable[None]],
    ) -> None:
        self.segmenter = segmenter
        self._node = node
        self._mailbox = mailbox
        self._recover = recover
        self._failures = 0
        self._stuck = False
        self._log_paces: defaultdict[tuple[str, str], Pace] = defaultdict(Pace)
        self._workers = Workers(mailbox)
        self._network = threading.Semaphore()

    def start(self, workers: int, max_batch: int, max_wait_s: float) -> None:
        """Start the worker threads. `workers`: number of batches in the network at once.

        Raises DgssError if the system refuses them, or if one of the last start still runs.
        """
        self._network = threading.Semaphore(workers)
        # Larger batches are not prepared ahead, so that they fill while the network is busy.
        threads = 2 * workers if max_batch == 1 else workers
        self._workers.start(
            self._work,
            self._publish,
            self._lose,
            count=threads,
            max_size=max_batch,
            max_wait_s=max_wait_s,
        )

    def stop(self) -> None:
        """Finish the batches in work and drop the waiting images.

        Raises StuckError for a batch that is not finished after `STOP_S`.
        """
        begun_s = time.monotonic()
        while not self._workers.stop(timeout_s=0.1):
            limit_s = STOP_S if self._node.context.ok() else END_S
            if self._stuck or time.monotonic() - begun_s > limit_s:
                self._stuck = True
                raise StuckError(
                    f'A frame has not left the network within {limit_s:g} s; '
                    'end the process and start it again.'
                )

    def swap(self, segmenter: Segmenter) -> Segmenter:
        """Use another segmenter for the next batches; returns the old one, maybe still in use."""
        old, self.segmenter = self.segmenter, segmenter
        self._failures = 0
        return old

    def retire(self, segmenter: Segmenter) -> None:
        """Free a segmenter that was swapped out, after its last batch is done."""
        self._mailbox.settle()
        segmenter.close()

    def _work(self, batch: list[Arrival]) -> None:
        segmenter = self.segmenter  # for the whole batch, even if `swap` changes it meanwhile
        frames: Frames = []
        for arrival in batch:
            if frame := self._prepare(arrival, segmenter):
                frames.append((arrival.camera, frame))
        if not frames:
            return
        with self._network:
            current = [
                (camera, newest)
                for camera, frame in frames
                if (newest := self._refresh(camera, frame, segmenter))
            ]
            predictions = self._predict(current, segmenter)
        for (camera, frame), prediction in zip(current, predictions, strict=False):
            frame.stopwatch.lap('inference')
            camera.answers.put(Answer(frame, prediction, segmenter))

    def _publish(self, batch: list[Arrival]) -> None:
        for arrival in batch:
            try:
                arrival.camera.answers.publish_oldest()
            except Exception as error:
                self._lose([arrival], error)

    def _prepare(self, arrival: Arrival, segmenter: Segmenter) -> CameraFrame | None:
        """Return the frame of an image; None, with a count, if it is too old or unusable."""
        try:
            return arrival.camera.prepare(arrival, segmenter)
        except DgssError as error:
            reason = one_line(str(error))
            arrival.camera.health.counters.count_rejected(reason)
            if topic := self._due('refused', [arrival.camera]):
                self._node.get_logger().warning(f'{topic}: {reason}')
        except Exception as error:
            self._lose([arrival], error)
        return None

    def _refresh(
        self, camera: Camera, frame: CameraFrame, segmenter: Segmenter
    ) -> CameraFrame | None:
        """Return the frame to run now: the newest usable image; None if it is too old by now."""
        if (newer := camera.slot.take_newer()) is not None:
            if replacement := self._prepare(newer, segmenter):
                return replacement
            camera.slot.keep_older()
        return frame if camera.admits(frame.header) else None

    def _predict(self, frames: Frames, segmenter: Segmenter) -> list[Prediction]:
        if not frames:
            return []
        predictions: list[Prediction] = []
        try:
            predictions = segmenter.predict_prepared([frame.prepared for _, frame in frames])
        except Exception as error:
            # The images were decoded: whatever goes wrong here, also a DgssError, is no fault of
            # theirs.
            self._count_failed([camera for camera, _ in frames], error)
        self._note_failure(segmenter, failed=not predictions)
        return predictions

    def _note_failure(self, segmenter: Segmenter, failed: bool) -> None:
        if segmenter is not self.segmenter:
            return
        self._failures = self._failures + 1 if failed else 0
        if self._failures >= FAILURES_TO_RECOVER and self._node.executor is not None:
            self._failures = 0
            self._node.executor.create_task(self._recover, segmenter)

    def _lose(self, batch: list[Arrival], error: BaseException) -> None:
        self._count_failed([arrival.camera for arrival in batch], error)

    def _count_failed(self, cameras: list[Camera], error: BaseException) -> None:
        """Log an exception, and count it as a lost frame of each camera."""
        if not self._node.context.ok():
            return  # SIGTERM invalidates the publishers while a frame is in work
        if isinstance(error, DgssError):  # Its sentence says everything; the library is no bug.
            reason = text = one_line(str(error))
        else:
            reason = one_line(f'{type(error).__name__}: {error}')
            text = one_line(''.join(traceback.format_exception(error)), LOGGED, lines=True)
        for camera in cameras:
            camera.health.counters.count_failed(reason)
        if topics := self._due('failed', cameras):
            self._node.get_logger().error(f'{topics}: {text}')

    def _due(self, occasion: str, cameras: list[Camera]) -> str:
        """Return the topics of the cameras whose `occasion` may be logged again; empty for none.

        Not the limit of the logger: one camera would keep the messages of another from the log.
        """
        now_s = time.monotonic()
        paces = [self._log_paces[occasion, camera.name] for camera in cameras]
        due = [pace.admits(now_s, 1 / LOG_PERIOD_S) for pace in paces]
        return ', '.join(
            camera.topic for camera, is_due in zip(cameras, due, strict=True) if is_due
        )
