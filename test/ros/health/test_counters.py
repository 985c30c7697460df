from __future__ import annotations

import pytest

from dgss_ros.health.counters import WINDOW, FrameCounters, Stopwatch


def stopwatch_of(seconds: float) -> Stopwatch:
    stopwatch = Stopwatch(0.0)
    stopwatch.stages = {'waiting': seconds / 4, 'inference': seconds * 3 / 4}
    return stopwatch


def test_percentiles_cover_the_last_frames() -> None:
    counters = FrameCounters()
    assert counters.report().times_ms == {}
    counters.count_processed(stopwatch_of(9.0))
    for milliseconds in range(WINDOW):
        counters.count_processed(stopwatch_of(milliseconds / 1e3))
    times = counters.report().times_ms
    assert times['latency'] == pytest.approx((149.5, 284.05, 296.01))
    assert times['waiting'] == pytest.approx([value / 4 for value in times['latency']])
    assert 'age' not in times
    counters.count_processed(stopwatch_of(0.1), age_s=0.2)
    assert counters.report().times_ms['age'] == pytest.approx((200.0, 200.0, 200.0))


def test_every_outcome_of_a_frame_is_counted() -> None:
    counters = FrameCounters()
    counters.count_processed(stopwatch_of(0.1))
    counters.count_skipped()
    counters.count_rejected('cut')
    counters.count_failed('broken')
    report = counters.report()
    outcomes = (report.processed, report.skipped, report.rejected, report.failed)
    assert outcomes == (1, 1, 1, 1)
    assert report.last_error == 'broken'


def test_a_frame_in_time_is_distinguished_from_a_late_one() -> None:
    counters = FrameCounters()
    counters.count_processed(stopwatch_of(0.1), limit_ms=200.0)
    in_time = counters.report()
    assert in_time.last.ready_s == in_time.last_in_time_s is not None
    counters.count_processed(stopwatch_of(0.3), limit_ms=200.0)
    late = counters.report()
    assert late.last_in_time_s == in_time.last_in_time_s < late.last.ready_s
    assert late.last.latency_ms == pytest.approx(300.0)
    assert (in_time.late, late.late) == ((), (late.last,))
    assert late.in_time == in_time.in_time
