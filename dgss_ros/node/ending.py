"""Ends the process in time after SIGINT or SIGTERM, whatever its threads still do."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress

from rclpy.context import Context
from rclpy.logging import get_logger

END_S = 4.0
"""Longest time from the end of the context to the end of the process."""
POLL_S = 0.1


class Deadline:
    """Ends the process with code 0, at the latest `END_S` after `context` was shut down.

    Python cannot end a thread that is inside a call of a driver, and would wait for it.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name='deadline', daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Let the process end by itself, unless threads still run that would be torn down."""
        end_s = time.monotonic() + END_S
        for thread in self._others():
            thread.join(max(0.0, end_s - time.monotonic()))
        if self._others():
            self._end()
        self._left.set()

    def _watch(self) -> None:
        while self._context.ok():
            if self._left.wait(POLL_S):
                return
        if not self._left.wait(END_S):
            self._end()

    def _others(self) -> list[threading.Thread]:
        ours = (self._thread, threading.main_thread())
        return [thread for thread in threading.enumerate() if thread not in ours]

    def _end(self) -> None:
        busy = [t.name for t in threading.enumerate() if t is not self._thread]
        with suppress(Exception):
            get_logger('dgss_ros').error(
                f'Ends the process, although these threads are not done: {", ".join(busy)}.'
            )
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)
