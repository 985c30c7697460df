"""From arrivals to answers, on the worker threads."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from rclpy.node import Node

from dgss_core.errors import DgssError
from dgss_core.segmenter import Prediction, Segmenter
from dgss_ros.cameras import Arrival, Camera, Frame
from dgss_ros.mailbox import Mailbox, Workers

LOG_PERIOD_S = 5.0
FAILURES_TO_RECOVER = 5
"""Batches in a row that the network fails on before `recover` is called, on the executor."""


class Pipeline:
    """Takes batches from `mailbox`, runs them through a segmenter and lets the cameras answer.

    While the network works on one image, the masks before it are published and that of another
    camera is prepared; what comes meanwhile from that camera takes its place.

    What goes wrong with an image is counted at its camera and logged; the next one is served.
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
        """`workers`: batches that the network works on at once."""
        self._network = threading.Semaphore(workers)
        # Larger batches are not prepared ahead: they fill up while the network is busy.
        threads = 2 * workers if max_batch == 1 else workers
        self._workers.start(self._work, threads, max_batch, max_wait_s)

    def stop(self) -> None:
        """Let what is in work finish, and drop what waits."""
        self._workers.stop()

    def swap(self, segmenter: Segmenter) -> Segmenter:
        """Serve the next batches by another segmenter; the old one may still be at work."""
        old, self.segmenter = self.segmenter, segmenter
        return old

    def retire(self, segmenter: Segmenter) -> None:
        """Free a segmenter that was swapped out, once the batches it still works on are done."""
        self._mailbox.settle()
        segmenter.backend.close()

    def _work(self, batch: list[Arrival]) -> Callable[[], None] | None:
        segmenter = self.segmenter  # the same for the whole batch, whatever swap does meanwhile
        frames = self._look(batch, segmenter)
        if not frames:
            return None
        with self._network:
            frames = self._renew(frames, segmenter)
            predictions = self._predict(frames, segmenter)
        answered = list(zip(frames, predictions, strict=False))
        for frame, prediction in answered:
            frame.camera.keep(frame, prediction, segmenter)
        return partial(self._answer, [frame.camera for frame, _ in answered])

    def _answer(self, cameras: Iterable[Camera]) -> None:
        for camera in cameras:
            with self._watched(camera):
                camera.answer()

    def _look(self, arrivals: Iterable[Arrival], segmenter: Segmenter) -> list[Frame]:
        frames = []
        for arrival in arrivals:
            with self._watched(arrival.camera):
                if frame := arrival.camera.look(arrival, segmenter):
                    frames.append(frame)
        return frames

    def _renew(self, frames: list[Frame], segmenter: Segmenter) -> list[Frame]:
        """What of `frames` is still worth an answer now, or what came in its place."""
        renewed = []
        for frame in frames:
            if (newer := frame.camera.slot.renew()) is not None:
                renewed += self._look([newer], segmenter)
            elif frame.camera.admits(frame.header):
                renewed.append(frame)
        return renewed

    def _predict(self, frames: list[Frame], segmenter: Segmenter) -> list[Prediction]:
        predictions: list[Prediction] = []
        if frames:
            with self._watched(*(frame.camera for frame in frames)):
                predictions = segmenter.predict([frame.prepared for frame in frames])
            self._note_failure(failed=not predictions)
        return predictions

    def _note_failure(self, failed: bool) -> None:
        self._failures = self._failures + 1 if failed else 0
        if self._failures >= FAILURES_TO_RECOVER and self._node.executor is not None:
            self._failures = 0
            self._node.executor.create_task(self._recover)

    @contextmanager
    def _watched(self, *cameras: Camera) -> Iterator[None]:
        """Count what goes wrong within as lost frames of these cameras; nothing is raised."""
        logger = self._node.get_logger()
        try:
            yield
        except DgssError as error:
            for camera in cameras:
                camera.counters.count_rejected(str(error))
            logger.warning(str(error), throttle_duration_sec=LOG_PERIOD_S)
        except Exception as error:
            if not self._node.context.ok():
                return  # SIGTERM invalidates the publishers while a frame is in work
            for camera in cameras:
                camera.counters.count_failed(f'{type(error).__name__}: {error}')
            logger.error(traceback.format_exc(), throttle_duration_sec=LOG_PERIOD_S)
