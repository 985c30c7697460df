"""Replacing the bundle of a running node, on request and after repeated failures."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rclpy.node import Node

from dgss_core.errors import DgssError
from dgss_core.runtime.segmenter import Segmenter
from dgss_ros.node.pipeline import Pipeline
from dgss_ros.node.services import in_thread

RECOVERY_PERIOD_S = 10.0
"""Minimum time between the starts of two recoveries."""


class Reloader:
    """Loads a bundle beside the running one, then swaps the two between two frames.

    `running` returns the pipeline of the configured node, None when it is not configured. `load`
    opens, loads and tests the bundle in a folder, on a separate thread. `announce` publishes what
    runs after a swap, on the executor.
    """

    def __init__(
        self,
        node: Node,
        running: Callable[[], Pipeline | None],
        load: Callable[[Path | None], Segmenter],
        announce: Callable[[Segmenter], None],
    ) -> None:
        self._node = node
        self._running = running
        self._load = load
        self._announce = announce
        self._recovered_s = -RECOVERY_PERIOD_S

    async def replace(self, pipeline: Pipeline, folder: Path | None) -> Segmenter:
        """Run the bundle in `folder` on the next frames of `pipeline`.

        Returns its segmenter once the old one is freed. Raises DgssError, and keeps the old
        bundle, when the new one cannot be loaded or the node was cleaned up in the meantime.
        """
        segmenter = await in_thread(self._node, partial(self._load, folder))
        if self._running() is not pipeline:
            segmenter.close()
            raise DgssError('The node was cleaned up meanwhile; configure it instead.')
        old = pipeline.swap(segmenter)
        self._announce(segmenter)
        await in_thread(self._node, partial(pipeline.retire, old))
        return segmenter

    async def recover(self) -> None:
        """Load the same bundle again after the network failed repeatedly; errors are logged."""
        now = time.monotonic()
        pipeline = self._running()
        if pipeline is None or now - self._recovered_s < RECOVERY_PERIOD_S:
            return
        self._recovered_s = now
        logger = self._node.get_logger()
        logger.error('The network fails repeatedly; the node loads it anew.')
        try:
            await self.replace(pipeline, pipeline.segmenter.bundle.folder)
        except DgssError as error:
            logger.error(str(error))
