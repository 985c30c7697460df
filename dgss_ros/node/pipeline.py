"""Turns arrivals into answers, on the worker threads."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rclpy.node import Node

from dgss_core.errors import DgssError
from dgss_core.runtime.segmenter import Prediction, Segmenter
from dgss_ros.node.cameras import Arrival, Camera
from dgss_ros.node.frames import Answer, CameraFrame
from dgss_ros.node.mailbox import Mailbox, Workers

LOG_PERIOD_S = 5.0
Frames = list[tuple[Camera, CameraFrame]]

FAILURES_TO_RECOVER = 5
"""Number of failed batches in a row after which `recover` is called, on the executor."""


class Pipeline:
    """Takes batches from `mailbox`, runs the segmenter on them and makes the cameras answer.

    While the network works on one image, the previous masks are published and an image of another
    camera is prepared. A newer image of that camera replaces the prepared one.

    An error is logged and counted at the cameras of its frames; the next image is answered.
    """

    def __init__(
        self,
        node: Node,
        mailbox: Mailbox[Arrival],
        segmenter: Segmenter,
        recover: Callable[[], Awaitable[None]],
    ) -> None:
        self.segmenter = segmenter
        self._node = node
        self._mailbox = mailbox
        self._recover = recover
        self._failures = 0
        self._workers = Workers(mailbox)
        self._network = threading.Semaphore()

    def start(self, workers: int, max_batch: int, max_wait_s: float) -> None:
        """Start the worker threads. `workers`: number of batches in the network at once."""
        self._network = threading.Semaphore(workers)
        # Larger batches are not prepared ahead, so that they fill while the network is busy.
        threads = 2 * workers if max_batch == 1 else workers
        self._workers.start(
            self._work,
            self._publish,
            count=threads,
            max_size=max_batch,
            max_wait_s=max_wait_s,
        )

    def stop(self) -> None:
        """Finish the batches in work and drop the waiting images."""
        self._workers.stop()

    def swap(self, segmenter: Segmenter) -> Segmenter:
        """Use another segmenter for the next batches; returns the old one, maybe still in use."""
        old, self.segmenter = self.segmenter, segmenter
        return old

    def retire(self, segmenter: Segmenter) -> None:
        """Free a segmenter that was swapped out, after its last batch is done."""
        self._mailbox.settle()
        segmenter.close()

    def _work(self, batch: list[Arrival]) -> None:
        segmenter = self.segmenter  # for the whole batch, even if `swap` changes it meanwhile
        frames: Frames = []
        for arrival in batch:
            self._add(frames, arrival.camera, partial(arrival.camera.prepare, arrival, segmenter))
        if not frames:
            return
        with self._network:
            current: Frames = []
            for camera, frame in frames:
                self._add(current, camera, partial(camera.refresh, frame, segmenter))
            predictions = self._predict(current, segmenter)
        for (camera, frame), prediction in zip(current, predictions, strict=False):
            frame.stopwatch.lap('inference')
            camera.answers.put(Answer(frame, prediction, segmenter))

    def _publish(self, batch: list[Arrival]) -> None:
        for arrival in batch:
            with self._count_errors(arrival.camera):
                arrival.camera.answers.publish_oldest()

    def _add(self, frames: Frames, camera: Camera, make: Callable[[], CameraFrame | None]) -> None:
        """Append the frame of `camera` that `make` returns, unless it returns None or fails."""
        with self._count_errors(camera):
            if frame := make():
                frames.append((camera, frame))

    def _predict(self, frames: Frames, segmenter: Segmenter) -> list[Prediction]:
        predictions: list[Prediction] = []
        if frames:
            with self._count_errors(*(camera for camera, _ in frames)):
                predictions = segmenter.predict_prepared([frame.prepared for _, frame in frames])
            self._note_failure(failed=not predictions)
        return predictions

    def _note_failure(self, failed: bool) -> None:
        self._failures = self._failures + 1 if failed else 0
        if self._failures >= FAILURES_TO_RECOVER and self._node.executor is not None:
            self._failures = 0
            self._node.executor.create_task(self._recover)

    @contextmanager
    def _count_errors(self, *cameras: Camera) -> Iterator[None]:
        """Log an exception and count it as a lost frame of each camera, instead of raising it."""
        logger = self._node.get_logger()
        try:
            yield
        except DgssError as error:
            for camera in cameras:
                camera.health.counters.count_rejected(str(error))
            logger.warning(str(error), throttle_duration_sec=LOG_PERIOD_S)
        except Exception as error:
            if not self._node.context.ok():
                return  # SIGTERM invalidates the publishers while a frame is in work
            for camera in cameras:
                camera.health.counters.count_failed(f'{type(error).__name__}: {error}')
            logger.error(traceback.format_exc(), throttle_duration_sec=LOG_PERIOD_S)
