"""Work on separate threads, for which nobody waits without a limit."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from dgss_core.errors import DgssError

Result = TypeVar('Result')
Overdue = Callable[[], str]
"""Returns why nobody waits any longer for a work; empty while it may go on."""
POLL_S = 0.1


class Job(Generic[Result]):
    """Runs `work` on a new thread, until it ends or is given up.

    The thread does not keep the process from ending. `discard` gets the result of a work that
    ends after it was given up. `ended` is called on that thread when the outcome is there.
    """

    def __init__(
        self,
        work: Callable[[], Result],
        discard: Callable[[Result], object] = lambda result: None,
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        self._work, self._discard, self._ended = work, discard, ended
        self._lock = threading.Lock()
        self._given_up = False
        self._outcome: list[Result] = []
        self._error: BaseException | None = None
        self.done = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name='service', daemon=True).start()

    def result(self) -> Result:
        """Return what the work returned, or raise what it raised; only after `done`."""
        if self._error is not None:
            raise self._error
        return self._outcome[0]

    def give_up(self) -> bool:
        """Take no outcome any more; returns False if it is there already."""
        with self._lock:
            self._given_up = not self.done.is_set()
            return self._given_up

    def _run(self) -> None:
        try:
            self._outcome.append(self._work())
        except BaseException as error:
            self._error = error
        with self._lock:
            if not self._given_up:
                self.done.set()
        if self.done.is_set():
            self._ended()
        elif self._outcome:
            self._discard(self._outcome.pop())


def in_thread(
    node: Node,
    work: Callable[[], Result],
    *,
    overdue: Overdue = str,
    discard: Callable[[Result], object] = lambda result: None,
) -> Awaitable[Result]:
    """Run `work` on a new thread; a coroutine can await its result without blocking the executor.

    An exception of `work` is raised where the result is awaited; so is DgssError with the reason
    that `overdue` gives. `discard` gets a result that comes after that.
    """
    future = Future()

    def ended() -> None:
        try:
            future.set_result(job.result())
        except BaseException as error:
            future.set_exception(error)
        with suppress(Exception):  # the executor may be shut down at this moment
            if node.context.ok() and node.executor is not None:
                node.executor.wake()  # a result from another thread does not wake the executor

    def check() -> None:
        if future.done():
            node.destroy_timer(timer)
        elif (reason := overdue()) and job.give_up():
            future.set_exception(DgssError(reason))

    job = Job(work, discard, ended)
    job.start()
    timer = node.create_timer(POLL_S, check, clock=Clock(clock_type=ClockType.STEADY_TIME))
    return future
