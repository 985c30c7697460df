"""The formulas against torchmetrics, and against their definitions pixel by pixel."""

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as tm
from hypothesis import given, settings
from hypothesis import strategies as st

from dgss_core.evaluation.counts import FrameCounts
from dgss_core.evaluation.measures import (
    auroc,
    average_precision,
    calibration_error,
    false_positives_at_recall,
    measures,
    reliability,
)

CLASSES = 7
levels = st.lists(st.integers(0, 255), min_size=1, max_size=40)


@pytest.fixture(scope='module')
def frame():
    """A mask that is right where it is sure; class 5 is absent, class 6 only predicted."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, (90, 110)).astype(np.uint8)
    confidence = rng.integers(0, 256, labels.shape).astype(np.uint8)
    wrong = rng.integers(0, 256, labels.shape) > confidence
    mask = np.where(wrong, rng.choice([0, 1, 2, 3, 4, 6], labels.shape), labels).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = 255
    ood = rng.choice([0, 1, 255], labels.shape, p=[0.7, 0.2, 0.1]).astype(np.uint8)
    return mask, labels, confidence, ood


def histogram(values):
    return np.bincount(values, minlength=256)


def test_the_scores_of_classes_equal_torchmetrics(frame):
    mask, labels, confidence, _ = frame
    found = measures(FrameCounts.of(mask, labels, confidence, classes=CLASSES))
    pair = torch.from_numpy(mask).int(), torch.from_numpy(labels).int()
    settings = {'num_classes': CLASSES, 'ignore_index': 255}
    each = tm.multiclass_jaccard_index(*pair, average='none', **settings).numpy()
    np.testing.assert_allclose(np.delete(found['iou'], 5), np.delete(each, 5), atol=1e-6)
    assert np.isnan(found['iou'][5])
    mean = tm.multiclass_jaccard_index(*pair, average='macro', **settings)
    assert found['miou'] == pytest.approx(float(mean), abs=1e-6)
    accuracy = tm.multiclass_accuracy(*pair, average='micro', **settings)
    assert found['accuracy'] == pytest.approx(float(accuracy), abs=1e-6)


def test_the_scores_of_confidence_equal_torchmetrics(frame):
    mask, labels, confidence, ood = frame
    found = measures(FrameCounts.of(mask, labels, confidence, classes=CLASSES, ood=ood))
    valid = (labels != 255) & (ood != 1)
    right = torch.from_numpy(mask == labels)[torch.from_numpy(valid)].int()
    sure = torch.from_numpy(confidence[valid].astype(np.float64) / 255)
    labelled = ood != 255
    outside = torch.from_numpy(ood[labelled]).int()
    doubt = torch.from_numpy(1 - confidence[labelled].astype(np.float64) / 255)
    for prefix, success, target, score in (
        ('', 'aupr_success', right, sure),
        ('ood_', 'ood_auprc', outside, doubt),
    ):
        assert found[f'{prefix}auroc'] == pytest.approx(float(tm.binary_auroc(score, target)))
        average = float(tm.binary_average_precision(score, target))
        assert found[success] == pytest.approx(average, abs=1e-6)
        false, true, _ = tm.binary_roc(score, target)
        at_recall = false.numpy()[true.numpy() >= np.float32(0.95)].min()
        assert found[f'{prefix}fpr95'] == pytest.approx(float(at_recall), abs=1e-6)
    error = float(tm.binary_average_precision(1 - sure, 1 - right))
    assert found['aupr_error'] == pytest.approx(error, abs=1e-6)


def test_the_calibration_error_equals_torchmetrics_inside_its_bins(frame):
    """torchmetrics puts the confidence 1 into a bin of its own, and rounds at the borders."""
    mask, labels, confidence, _ = frame
    confidence = np.where(confidence % 17 == 0, confidence // 2 + 1, confidence).astype(np.uint8)
    confidence[confidence % 17 == 0] = 40
    found = measures(FrameCounts.of(mask, labels, confidence, classes=CLASSES))['ece']
    valid = labels != 255
    sure = torch.from_numpy(confidence[valid].astype(np.float64) / 255)
    right = torch.from_numpy((mask == labels)[valid]).int()
    expected = tm.binary_calibration_error(sure, right, n_bins=15, norm='l1')
    assert found == pytest.approx(float(expected), abs=1e-6)


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


def test_axes_in_front_give_one_score_each(frame):
    mask, labels, confidence, ood = frame
    counts = [
        FrameCounts.of(mask[rows], labels[rows], confidence[rows], classes=CLASSES, ood=ood[rows])
        for rows in (slice(0, 30), slice(30, 90))
    ]
    names = ('confusion', 'boundary', 'right', 'wrong', 'known', 'unknown')
    both = FrameCounts(
        frames=2,
        pixels=mask.size,
        band=5,
        **{name: np.stack([getattr(one, name) for one in counts]) for name in names},
    )
    for name, values in measures(both).items():
        expected = np.stack([measures(one)[name] for one in counts])
        np.testing.assert_array_equal(values, expected, name)
