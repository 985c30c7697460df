"""The watchdog at times that the test sets."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from dgss_ros.health import counters, watchdog
from dgss_ros.health.camera import CameraHealth
from dgss_ros.health.watchdog import ERROR, OK, TaskStatus, Watchdog

pytestmark = pytest.mark.ros
SETTINGS = {'watchdog.max_delay_ms': 400.0, 'watchdog.max_processing_time_ms': 200.0}


@dataclass
class Stream:
    """A camera whose masks are ready at given times."""

    now_s: float = 100.0
    received: int = 0
    dropped: int = 0

    def __post_init__(self) -> None:
        remedy = 'look at the cable'
        self.health = CameraHealth('', lambda: '/eye', self, loss_remedy=lambda: remedy)

    def answer(self, *times_s: float, latency_s: float = 0.01) -> None:
        for self.now_s in times_s:
            self.received += 1
            stopwatch = counters.Stopwatch(0.0)
            stopwatch.stages['inference'] = latency_s
            limit_ms = SETTINGS['watchdog.max_processing_time_ms']
            self.health.counters.count_processed(stopwatch, limit_ms=limit_ms)


class Judge:
    def __init__(self, stream: Stream) -> None:
        self._stream, self._watchdog = stream, Watchdog(stream.health, SETTINGS)

    def at(self, now_s: float, state: str = 'active') -> TaskStatus:
        self._stream.now_s = now_s
        return self._watchdog.judge(state)


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    stream = Stream()
    clock = SimpleNamespace(monotonic=lambda: stream.now_s)
    monkeypatch.setattr(watchdog, 'time', clock)
    monkeypatch.setattr(counters, 'time', clock)
    return stream


def test_a_delay_that_ended_before_the_node_looked_is_told_once(stream: Stream) -> None:
    judge = Judge(stream)
    stream.answer(100.2, 100.4, 100.6, 100.8)
    assert judge.at(101.0).level == OK
    stream.answer(101.1, 101.7, 101.9)
    status = judge.at(102.0)
    assert (status.level, status.message) == (
        ERROR,
        'no mask in time for 0.6 s, until 0.3 s ago; images on /eye came too rarely: their '
        'publisher paused, or they were lost on the way; look at the cable',
    )
    stream.answer(102.2, 102.5, 102.8)
    assert judge.at(103.0).level == OK


def test_images_that_always_come_just_before_the_node_looks_are_still_too_rare(
    stream: Stream,
) -> None:
    judge = Judge(stream)
    stream.answer(100.9)
    judge.at(101.0)
    for second in range(101, 104):
        stream.answer(second + 0.4, second + 0.9)
        assert judge.at(second + 1.0).message.startswith('no mask in time for 0.5 s, until')


def test_late_frames_are_none_in_time(stream: Stream) -> None:
    judge = Judge(stream)
    stream.answer(100.9)
    judge.at(101.0)
    stream.answer(101.3, latency_s=0.35)
    stream.answer(101.5, latency_s=0.3)
    stream.answer(101.8)
    cause = 'a frame took 350 ms from arrival to mask'
    expected = f'no mask in time for 0.8 s, until 0.2 s ago; {cause}'
    assert judge.at(102.0).message == expected
    stream.answer(102.1, 102.6)
    assert 'came too rarely' in judge.at(102.8).message


@pytest.mark.parametrize(
    ('count', 'cause'),
    [
        ('count_skipped', 'images were skipped: input.max_rate is 2'),
        ('count_rejected', 'input.max_rate is 2'),
        ('count_failed', 'input.max_rate is 2'),
    ],
)
def test_a_delay_that_has_ended_tells_why_its_images_got_no_mask(
    stream: Stream, count: str, cause: str
) -> None:
    """Also where they came before the node looked the last time."""
    judge = Judge(stream)
    stream.answer(100.1)
    judge.at(100.2)
    stream.answer(100.5)
    stream.now_s = 100.8
    getattr(stream.health.counters, count)('input.max_rate is 2')
    judge.at(100.85)
    stream.answer(101.1, 101.4)
    expected = f'no mask in time for 0.6 s, until 0.4 s ago; {cause}'
    assert judge.at(101.5).message == expected
    stream.answer(101.8, 102.4)
    assert 'came too rarely' in judge.at(102.5).message


def test_slow_frames_are_told_where_no_frame_is_late(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETTINGS, 'watchdog.max_processing_time_ms', 0.0)
    judge = Judge(stream)
    stream.answer(100.9)
    judge.at(101.0)
    stream.answer(101.6, latency_s=0.6)
    cause = 'a frame took 600 ms from arrival to mask'
    assert judge.at(101.9).message == f'no mask in time for 0.6 s, until 0.3 s ago; {cause}'


def test_the_time_before_the_first_image_and_while_inactive_is_no_delay(stream: Stream) -> None:
    judge = Judge(stream)
    judge.at(101.0)
    stream.answer(101.9)
    assert judge.at(102.0).level == OK
    assert judge.at(103.0, 'inactive').level == OK
    assert judge.at(104.0).level == OK
    stream.answer(104.9)
    assert judge.at(105.0).level == OK
