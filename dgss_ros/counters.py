"""What became of the frames of one camera, and how long they took."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

WINDOW = 300
"""Latencies are reported over this many last frames."""


@dataclass(frozen=True)
class FrameReport:
    """A consistent reading of the counters.

    `skipped`: left out by `input.max_rate` or `input.max_age_ms`; `rejected`: images that could
    not be decoded; `failed`: frames lost to an unexpected error. `latency_ms`: percentiles 50,
    95, 99 from arrival to the mask handed to the middleware.
    """

    processed: int = 0
    skipped: int = 0
    rejected: int = 0
    failed: int = 0
    last_error: str = ''
    latency_ms: tuple[float, float, float] | None = None


class Stopwatch:
    """Seconds that each stage of a frame took; `start_s` is of the monotonic clock."""

    def __init__(self, start_s: float) -> None:
        self.stages: dict[str, float] = {}
        self._lap_s = start_s

    def lap(self, stage: str) -> None:
        now = time.monotonic()
        self.stages[stage] = now - self._lap_s
        self._lap_s = now


class FrameCounters:
    """Counted by the worker threads and the executor, read by the diagnostics."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processed = self._skipped = self._rejected = self._failed = 0
        self._last_error = ''
        self._latencies: deque[float] = deque(maxlen=WINDOW)

    def count_processed(self, watch: Stopwatch) -> None:
        with self._lock:
            self._processed += 1
            self._latencies.append(1e3 * sum(watch.stages.values()))

    def count_skipped(self) -> None:
        with self._lock:
            self._skipped += 1

    def count_rejected(self, reason: str) -> None:
        with self._lock:
            self._rejected += 1
            self._last_error = reason

    def count_failed(self, reason: str) -> None:
        with self._lock:
            self._failed += 1
            self._last_error = reason

    def report(self) -> FrameReport:
        with self._lock:
            latencies = list(self._latencies)
            counts = (
                self._processed,
                self._skipped,
                self._rejected,
                self._failed,
                self._last_error,
            )
        if not latencies:
            return FrameReport(*counts)
        p50, p95, p99 = np.percentile(latencies, (50, 95, 99))
        return FrameReport(*counts, (float(p50), float(p95), float(p99)))
