"""A limit on how many events per second pass."""

from __future__ import annotations


class Pace:
    """Lets at most a given number of events per second pass, evenly spaced."""

    def __init__(self) -> None:
        self._due_s = 0.0

    def admits(self, now_s: float, rate_hz: float) -> bool:
        """Return whether the event at `now_s` may pass; a rate of 0 lets all pass."""
        if not rate_hz:
            return True
        if now_s < self._due_s:
            return False
        period_s = 1 / rate_hz
        # Counting from the due time keeps the mean rate exact; after a long pause it restarts.
        self._due_s = max(self._due_s, now_s - period_s) + period_s
        return True
