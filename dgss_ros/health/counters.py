"""Counts and times of the frames of one camera."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

WINDOW = 300
"""Number of last frames that the reported times cover."""
LATENCY, AGE = 'latency', 'age'
Percentiles = tuple[float, float, float]


class ReadyFrame(NamedTuple):
    """When a frame was ready, in seconds of the monotonic clock, and its latency."""

    ready_s: float
    latency_ms: float


class Unanswered(NamedTuple):
    """When an image was left without a mask, in seconds of the monotonic clock, and why."""

    time_s: float
    reason: str


@dataclass(frozen=True)
class FrameReport:
    """A consistent reading of the counters.

    `skipped`: images left out by `input.max_rate` or `input.max_age_ms`; `rejected`: images that
    could not be decoded; `failed`: frames lost to an unexpected error. `too_old`: those of the
    skipped that `input.max_age_ms` left out. `last_skip`: why the last one was skipped.

    `times_ms`: percentiles 50, 95 and 99 of the time per stage; of `latency`, from arrival until
    the mask is handed to the middleware, which is the sum of the stages; and of `age`, from the
    stamp until then. `in_time`, `late`: the last frames within the latency limit and beyond it,
    `unanswered`: the last images that were skipped, rejected or failed; each oldest first.
    """

    processed: int = 0
    skipped: int = 0
    rejected: int = 0
    failed: int = 0
    last_error: str = ''
    times_ms: dict[str, Percentiles] = field(default_factory=dict)
    in_time: tuple[ReadyFrame, ...] = ()
    late: tuple[ReadyFrame, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()
    too_old: int = 0
    last_skip: str = ''

    @property
    def last(self) -> ReadyFrame | None:
        """The newest frame, None before the first."""
        return max((*self.in_time[-1:], *self.late[-1:]), default=None)

    @property
    def last_in_time_s(self) -> float | None:
        """Time at which the last of `in_time` was ready, None before the first."""
        return self.in_time[-1].ready_s if self.in_time else None


class Stopwatch:
    """Seconds per stage of a frame. `start_s`: start of the first, on the monotonic clock."""

    def __init__(self, start_s: float) -> None:
        self.stages: dict[str, float] = {}
        self._lap_s = start_s

    def lap(self, stage: str) -> None:
        now = time.monotonic()
        self.stages[stage] = now - self._lap_s
        self._lap_s = now


class FrameCounters:
    """Counters of one camera; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processed = self._skipped = self._rejected = self._failed = 0
        self._too_old = 0
        self._last_error = self._last_skip = ''
        self._times: dict[str, deque[float]] = {}
        self._in_time: deque[ReadyFrame] = deque(maxlen=WINDOW)
        self._late: deque[ReadyFrame] = deque(maxlen=WINDOW)
        self._unanswered: deque[Unanswered] = deque(maxlen=WINDOW)

    def count_processed(
        self, stopwatch: Stopwatch, age_s: float | None = None, limit_ms: float = 0.0
    ) -> None:
        """Count a frame whose mask was published.

        `age_s`: seconds since its stamp, None without a stamp. `limit_ms`: maximum latency of a
        frame that is in time; 0 for no limit.
        """
        latency_s = sum(stopwatch.stages.values())
        times = {LATENCY: latency_s, **stopwatch.stages}
        if age_s is not None:
            times[AGE] = age_s
        with self._lock:
            self._processed += 1
            for name, seconds in times.items():
                self._times.setdefault(name, deque(maxlen=WINDOW)).append(1e3 * seconds)
            ready = ReadyFrame(time.monotonic(), 1e3 * latency_s)
            is_in_time = not limit_ms or ready.latency_ms <= limit_ms
            (self._in_time if is_in_time else self._late).append(ready)

    def count_skipped(self, reason: str = '', too_old: bool = False) -> None:
        with self._lock:
            self._skipped += 1
            self._too_old += too_old
            self._last_skip = reason
            self._note_unanswered(f'images were skipped: {reason}')

    def count_rejected(self, reason: str) -> None:
        with self._lock:
            self._rejected += 1
            self._last_error = reason
            self._note_unanswered(reason)

    def count_failed(self, reason: str) -> None:
        with self._lock:
            self._failed += 1
            self._last_error = reason
            self._note_unanswered(reason)

    def report(self) -> FrameReport:
        with self._lock:
            times = {name: list(values) for name, values in self._times.items()}
            report = FrameReport(
                self._processed,
                self._skipped,
                self._rejected,
                self._failed,
                self._last_error,
                in_time=tuple(self._in_time),
                late=tuple(self._late),
                unanswered=tuple(self._unanswered),
                too_old=self._too_old,
                last_skip=self._last_skip,
            )
        for name, values in times.items():
            p50, p95, p99 = map(float, np.percentile(values, (50, 95, 99)))
            report.times_ms[name] = (p50, p95, p99)
        return report

    def _note_unanswered(self, reason: str) -> None:
        self._unanswered.append(Unanswered(time.monotonic(), reason))
