"""A limit on the number of events per second."""

from __future__ import annotations


class Pace:
    """Admits at most a given number of events per second, evenly spaced."""

    def __init__(self) -> None:
        self._due_s = 0.0
        self._rate_hz = 0.0

    def admits(self, now_s: float, rate_hz: float) -> bool:
        """Return whether the event at `now_s` is admitted; a rate of 0 admits all.

        A changed rate admits the next event at once, so that a long period does not go on.
        """
        if not rate_hz:
            return True
        if rate_hz != self._rate_hz:
            self._rate_hz, self._due_s = rate_hz, now_s
        if now_s < self._due_s:
            return False
        period_s = 1 / rate_hz
        # Adding to the due time keeps the mean rate exact. After a long pause, counting restarts.
        self._due_s = max(self._due_s, now_s - period_s) + period_s
        return True
