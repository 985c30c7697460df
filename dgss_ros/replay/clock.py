"""The time of a recording: what is played waits for it, and nodes may read it on /clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.node import Node
from rosgraph_msgs.msg import Clock

from dgss_core.bags import span
from dgss_core.bags.bag import LONGEST_GAP_NS, PAUSE_NS
from dgss_ros.replay.stamps import END_NS

CLOCK = '/clock'
LOOK_S = 0.5
"""Longest wait without a look whether to wait on."""
PERIOD_S = 0.01
"""Between two messages on /clock, where the bag has none."""


class BagClock:
    """Waits for the times of a recording; a pause of more than an hour is skipped, and told.

    A wait of more than `PAUSE_NS` is told too.

    With `publish` the time is published on /clock, at every message and `PERIOD_S` apart. It goes
    back only where the bag does so for more than an hour: messages out of their order do not
    reset the nodes that follow it.
    """

    def __init__(self, node: Node, report: Callable[[str], object], *, publish: bool) -> None:
        self._publisher = node.create_publisher(Clock, CLOCK, 10) if publish else None
        self._report = report
        self.begin(1.0)

    def begin(self, rate: float) -> None:
        """Start anew: the next message is due at once, and time passes `rate` times as fast."""
        self._rate = rate
        self._first_ns = self._told_ns = 0
        self._last_ns: int | None = None
        self._start = 0.0

    def wait_for(self, stamp_ns: int, check: Callable[[], None] = lambda: None) -> None:
        """Wait for the time of a message. `check` raises when it is futile to wait."""
        if self._last_ns is None:
            self._first_ns, self._start = stamp_ns, time.monotonic()
        if step_ns := self._jump_to(stamp_ns):
            self._first_ns += step_ns
            jump = 'is without a message' if step_ns > 0 else 'goes back in time'
            self._report(
                f'The bag {jump} for {span(abs(step_ns))}, as a clock jumped; that is skipped.'
            )
        due = self._start + (stamp_ns - self._first_ns) / 1e9 / self._rate
        if (wait_ns := round((due - time.monotonic()) * 1e9)) > PAUSE_NS:
            self._report(f'The next message comes in {span(wait_ns)}.')
        while (left := due - time.monotonic()) > 0:
            check()
            if self._publisher is not None and left > PERIOD_S:
                self.tell(stamp_ns - round(left * 1e9 * self._rate))
                left = PERIOD_S
            time.sleep(min(left, LOOK_S))
        self.tell(stamp_ns)

    def pass_to(self, stamp_ns: int) -> None:
        """Go to the time of a message at once."""
        self._jump_to(stamp_ns)
        self.tell(stamp_ns)

    def tell(self, stamp_ns: int) -> None:
        """Publish a time, in nanoseconds; one that ROS cannot tell is left out, and one before
        the last.
        """
        if self._publisher is not None and self._told_ns <= stamp_ns < END_NS:
            self._told_ns = stamp_ns
            now = Clock()
            now.clock.sec, now.clock.nanosec = divmod(stamp_ns, 10**9)
            self._publisher.publish(now)

    def _jump_to(self, stamp_ns: int) -> int:
        """Note the time of a message; returns by how much the clock of the bag jumped to it."""
        step_ns = 0 if self._last_ns is None else stamp_ns - self._last_ns
        self._last_ns = stamp_ns
        if abs(step_ns) <= LONGEST_GAP_NS:
            return 0
        self._told_ns = 0
        return step_ns
