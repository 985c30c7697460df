"""The formulas against their definitions, pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgss_core.evaluation.counts import SUMMED, FrameCounts
from dgss_core.evaluation.measures import (
    auroc,
    average_precision,
    calibration_error,
    false_positives_at_recall,
    measures,
    reliability,
)

levels = st.lists(st.integers(0, 255), min_size=1, max_size=40)


def histogram(values):
    return np.bincount(values, minlength=256)


@settings(max_examples=100, deadline=None)
@given(levels, levels)
def test_ranking_scores_equal_their_definitions(positive, negative):
    pair = histogram(positive), histogram(negative)
    wins = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    assert auroc(*pair) == pytest.approx(np.mean(wins))
    precision = {}
    for threshold in {*positive, *negative}:
        found = sum(p >= threshold for p in positive)
        precision[threshold] = found / (found + sum(n >= threshold for n in negative))
    expected = np.mean([precision[p] for p in positive])
    assert average_precision(*pair) == pytest.approx(expected)
    thresholds = [t for t in positive if np.mean([p >= t for p in positive]) >= 0.95]
    rate = np.mean([n >= max(thresholds) for n in negative])
    assert false_positives_at_recall(*pair) == pytest.approx(rate)


@settings(max_examples=100, deadline=None)
@given(levels, levels)
def test_the_calibration_error_equals_its_definition(right, wrong):
    pixels = [(level, True) for level in right] + [(level, False) for level in wrong]
    expected = 0.0
    for index in range(15):
        last = 256 if index == 14 else 17 * (index + 1)
        inside = [pixel for pixel in pixels if 17 * index <= pixel[0] < last]
        if inside:
            sure, hit = np.mean(inside, axis=0)
            expected += abs(sure / 255 - hit) * len(inside) / len(pixels)
    pair = histogram(right), histogram(wrong)
    assert calibration_error(*pair) == pytest.approx(expected)
    assert reliability(*pair)[0].sum() == len(pixels)


def test_a_perfect_and_a_reversed_ranking():
    low, high = histogram([10] * 5), histogram([200] * 20)
    assert (auroc(high, low), average_precision(high, low)) == (1, 1)
    assert false_positives_at_recall(high, low) == 0
    assert (auroc(low, high), false_positives_at_recall(low, high)) == (0, 1)
    assert average_precision(low, high) == pytest.approx(5 / 25)


def test_what_is_not_defined_is_nan():
    some, none = histogram([3, 200]), histogram([])
    assert np.isnan(auroc(some, none))
    assert np.isnan(auroc(none, some))
    assert np.isnan(false_positives_at_recall(some, none))
    assert np.isnan(false_positives_at_recall(none, some))
    assert average_precision(some, none) == 1
    assert np.isnan(average_precision(none, some))
    assert np.isnan(calibration_error(none, none))
    unlabelled = np.full((2, 2), 255, np.uint8)
    found = measures(FrameCounts.of(unlabelled, unlabelled, unlabelled, classes=2))
    assert all(np.isnan(value).all() for value in found.values())


def test_axes_in_front_give_one_score_each():
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(2):
        mask, labels, ood = rng.integers(0, 2, (3, 30, 40)).astype(np.uint8)
        confidence = rng.integers(0, 256, labels.shape).astype(np.uint8)
        counts.append(FrameCounts.of(mask, labels, confidence, classes=3, ood=ood))
    both = FrameCounts(
        band=5, **{name: np.stack([getattr(one, name) for one in counts]) for name in SUMMED}
    )
    for name, values in measures(both).items():
        expected = np.stack([measures(one)[name] for one in counts])
        np.testing.assert_array_equal(values, expected, name)
