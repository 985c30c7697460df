"""The time stamps of the frames of a video."""

from __future__ import annotations

from typing import Any

from dgss_core.images.frames import FPS, period_ns

FASTEST = 1000
"""Frames per second; a rate from here on is a time base, not a rate."""


class Stamps:
    """Nanoseconds since the start of a video, always later than those of the frame before."""

    def __init__(self, stream: Any, period: float | None) -> None:
        self._period = period
        self._base = stream.time_base
        self._start = stream.start_time
        # The average of a bare stream is made up, the guess is its own if it says one.
        rate = stream.guessed_rate or stream.average_rate
        self._usual = period_ns(float(rate) if rate and rate < FASTEST else FPS)
        self._last = -1

    def next(self, pts: int | None, index: int) -> int:
        if self._period is not None:
            return round(index * self._period)
        if pts is None:
            stamp = round(index * self._usual)
        else:
            self._start = pts if self._start is None else self._start
            stamp = round((pts - self._start) * self._base * 10**9)
        self._last = max(stamp, self._last + 1)
        return self._last
