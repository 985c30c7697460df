"""The share of images that is missing in a series of stamps."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest

from dgss_ros.health.gaps import LEAST, StampGaps

PERIOD_NS = 33_333_333


def lost(stamps: list[int]) -> float:
    gaps = StampGaps()
    for stamp in stamps:
        gaps.add(stamp)
    return gaps.lost


def camera(count: int, jitter: float = 0.0) -> list[int]:
    draw = random.Random(0)
    return [int((10 + i + draw.uniform(-jitter, jitter)) * PERIOD_NS) for i in range(count)]


@pytest.mark.parametrize('jitter', [0.0, 0.05])
@pytest.mark.parametrize('share', [0.0, 0.3, 0.6])
def test_the_share_is_that_of_the_missing_images(share: float, jitter: float) -> None:
    draw = random.Random(1)
    arrived = [stamp for stamp in camera(200, jitter) if draw.random() >= share]
    assert lost(arrived) == pytest.approx(share, abs=0.15)
    if not share:
        assert lost(arrived) == 0


@pytest.mark.parametrize('jitter', [0.0, 0.05])
@pytest.mark.parametrize('share', [0.8, 0.9, 0.95])
def test_the_share_is_found_where_nearly_all_images_are_lost(share: float, jitter: float) -> None:
    draw = random.Random(1)
    arrived = [s for s in camera(round(60 / (1 - share)), jitter) if draw.random() >= share]
    assert lost(arrived) == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize('place', [0.1, 0.31, 0.5, 0.9])
def test_a_single_short_interval_of_a_steady_camera_is_no_loss(place: float) -> None:
    later = [stamp + int((place - 1) * PERIOD_NS) for stamp in camera(50)[25:]]
    assert lost([*camera(25), *later]) == 0


def test_some_half_intervals_of_a_steady_camera_are_no_loss() -> None:
    for seed in range(20):
        draw = random.Random(seed)
        halves = (draw.random() < 0.1 for _ in range(120))
        steps = [PERIOD_NS // 2 if half else PERIOD_NS for half in halves]
        assert lost([10**9 + total for total in accumulate(steps)]) == 0


@pytest.mark.parametrize('share', [0.8, 0.9])
def test_the_more_images_are_lost_the_less_it_is_missed(share: float) -> None:
    """Large images with best effort and the default transport of Fast DDS, for example."""
    found = 0
    for seed in range(20):
        draw = random.Random(seed)
        stamps = [int((10 + i + draw.expovariate(50)) * PERIOD_NS) for i in range(600)]
        found += lost([stamp for stamp in stamps if draw.random() >= share]) > 0.7
    assert found >= 19


def test_few_irregular_and_repeated_stamps_say_nothing() -> None:
    assert lost([*camera(10), *camera(30)[20::2]]) == 0
    draw = random.Random(2)
    triggered = [int(draw.uniform(0.1, 3.0) * PERIOD_NS) for _ in range(60)]
    assert lost([sum(triggered[: i + 1]) for i in range(60)]) == 0
    assert lost([0] * 60) == 0
    assert lost([5] * 60) == 0
    assert lost(camera(60)[::2] + camera(10)) == 0


@pytest.mark.parametrize('seconds', [0.5, 3.0, 3600.0])
@pytest.mark.parametrize('before', [1, LEAST, 60])
@pytest.mark.parametrize('after', [LEAST, LEAST + 5, 40])
def test_a_pause_or_a_step_of_the_clock_is_no_loss(
    seconds: float, before: int, after: int
) -> None:
    later = [stamp + int(before * PERIOD_NS + seconds * 1e9) for stamp in camera(after)]
    assert lost([*camera(before), *later]) == 0


def test_losses_around_a_pause_are_still_found() -> None:
    draw = random.Random(1)
    stamps = [*camera(60), *(stamp + 200 * PERIOD_NS for stamp in camera(60))]
    arrived = [stamp for stamp in stamps if draw.random() >= 0.5]
    assert lost(arrived) == pytest.approx(0.5, abs=0.15)


def test_a_slow_camera_is_no_loss() -> None:
    assert lost(camera(300)[::6]) == 0


def test_a_few_stamps_between_those_of_a_steady_camera_are_no_loss() -> None:
    taken = 0
    for seed in range(300):
        draw = random.Random(seed)
        steps = [draw.uniform(0.15, 0.45) if draw.random() < 0.08 else 1.0 for _ in range(30)]
        taken += lost([int(sum(steps[: i + 1]) * PERIOD_NS) for i in range(30)]) > 0
    assert taken <= 1


def test_few_stamps_of_a_triggered_camera_are_no_loss() -> None:
    taken = 0
    for seed in range(300):
        draw = random.Random(seed)
        times = [draw.lognormvariate(0, 0.7) for _ in range(LEAST)]
        taken += lost([int(sum(times[: i + 1]) * PERIOD_NS) for i in range(LEAST)]) > 0
    assert taken <= 1


def test_a_loss_is_found_within_two_seconds_of_a_camera_of_ten_images_a_second() -> None:
    draw = random.Random(1)
    arrived = [stamp for stamp in camera(2 * LEAST, 0.05) if draw.random() >= 0.4]
    assert LEAST < len(arrived) <= 30
    assert lost(arrived) == pytest.approx(0.4, abs=0.15)
