"""Replacing the bundle of a running node, on request and after repeated failures."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rclpy.node import Node
from rclpy.task import Future

from dgss_core.errors import DgssError
from dgss_core.runtime.segmenter import Segmenter
from dgss_ros.node.jobs import in_thread
from dgss_ros.node.pipeline import Pipeline

RECOVERY_PERIOD_S = 10.0
"""Minimum time between the end of a recovery and the start of the next."""
RETIRE_S = 10.0
"""Time after which a reload no longer waits for the last frame in the old network."""


class Actions(NamedTuple):
    """What the node does for a `Reloader`.

    `running()`: the pipeline of the configured node, None when it is not configured.
    `load(folder)`: opens, loads and tests a bundle, on a separate thread. `swap(segmenter)`: runs
    the next batches with it and announces it, on the executor; returns the old one.
    `loaded()`: forgets the progress of the load. `max_silence_s()`: longest time without progress.
    """

    running: Callable[[], Pipeline | None]
    load: Callable[[Path | None], Segmenter]
    swap: Callable[[Segmenter], Segmenter]
    loaded: Callable[[], None]
    max_silence_s: Callable[[], float]


class Reloader:
    """Loads a bundle beside the running one, then swaps the two between two frames.

    One replacement runs at a time: a reload waits for the end of a recovery, and no recovery
    starts during a reload. Used on the executor, apart from `note_progress`.
    """

    def __init__(self, node: Node, actions: Actions) -> None:
        self._node = node
        self._actions = actions
        self._replacing: Future | None = None
        self._progress_s = 0.0
        self._recovered_s = -RECOVERY_PERIOD_S

    def note_progress(self) -> None:
        """Count the time without progress from now on; may be called on any thread."""
        self._progress_s = time.monotonic()

    async def replace(self, pipeline: Pipeline, folder: Path | None) -> Segmenter:
        """Run the bundle in `folder` on the next frames of `pipeline`.

        Returns its segmenter once the old one is freed. Raises DgssError, and keeps the old
        bundle, when the new one cannot be loaded, its load makes no progress, or the node was
        cleaned up in the meantime.
        """
        while self._replacing is not None:
            await self._replacing
        self._replacing = Future()
        try:
            return await self._replace(pipeline, folder)
        finally:
            self._actions.loaded()
            ended, self._replacing = self._replacing, None
            ended.set_result(None)
            if self._node.executor is not None:
                self._node.executor.wake()  # for a reload that waits above

    async def recover(self, failing: Segmenter) -> None:
        """Load the bundle of `failing` again after its network failed repeatedly.

        Errors are logged. Returns at once when another bundle runs, during another replacement,
        and less than `RECOVERY_PERIOD_S` after the last recovery.
        """
        pipeline = self._actions.running()
        if pipeline is None or pipeline.segmenter is not failing or self._replacing is not None:
            return
        if time.monotonic() - self._recovered_s < RECOVERY_PERIOD_S:
            return
        logger = self._node.get_logger()
        logger.error('The network fails repeatedly; the node loads it anew.')
        try:
            await self.replace(pipeline, failing.bundle.folder)
        except DgssError as error:
            logger.error(str(error))
        finally:
            self._recovered_s = time.monotonic()

    async def _replace(self, pipeline: Pipeline, folder: Path | None) -> Segmenter:
        self.note_progress()
        segmenter = await in_thread(
            self._node,
            partial(self._actions.load, folder),
            overdue=self._overdue,
            discard=Segmenter.close,
        )
        if self._actions.running() is not pipeline:
            await in_thread(self._node, segmenter.close)
            raise DgssError('The node was cleaned up meanwhile; configure it instead.')
        old = self._actions.swap(segmenter)
        begun_s = time.monotonic()
        try:
            await in_thread(
                self._node,
                partial(pipeline.retire, old),
                overdue=lambda: 'late' if time.monotonic() - begun_s > RETIRE_S else '',
            )
        except DgssError:
            self._node.get_logger().warning(
                f'A frame is still in the network of {old.bundle.identity} after {RETIRE_S:g} s; '
                'its memory is freed when the frame has left.'
            )
        return segmenter

    def _overdue(self) -> str:
        limit_s = self._actions.max_silence_s()
        if not 0 < limit_s < time.monotonic() - self._progress_s:
            return ''
        return (
            f'Loading the bundle made no progress for {limit_s:g} s and was given up; check the '
            'bundle, or raise engine.max_silence_s.'
        )
