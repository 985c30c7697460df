"""A limit on the number of events per second."""

from __future__ import annotations


class Pace:
    """Admits at most a given number of events per second, evenly spaced."""

    def __init__(self) -> None:
        self._due_s = 0.0

    def admits(self, now_s: float, rate_hz: float) -> bool:
        """Return whether the event at `now_s` is admitted; a rate of 0 admits all."""
        if not rate_hz:
            return True
        if now_s < self._due_s:
            return False
        period_s = 1 / rate_hz
        # Adding to the due time keeps the mean rate exact. After a long pause, counting restarts.
        self._due_s = max(self._due_s, now_s - period_s) + period_s
        return True
