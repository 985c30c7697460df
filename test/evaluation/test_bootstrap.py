"""Intervals and differences against a slow loop over resamples."""

import json
from itertools import product

import numpy as np
import pytest

from dgss_core.evaluation.bootstrap import differences, intervals
from dgss_core.evaluation.counts import FrameCounts
from dgss_core.evaluation.measures import measures
from dgss_core.labels import Label, LabelSet

LABELS = LabelSet('three', tuple(Label(i, f'class {i}', (i, i, i)) for i in range(3)))
RESAMPLES = 60


def drive(seed, frames=8, error=0.3, sure=True):
    """Counts of frames; the first has a class that no other has."""
    rng = np.random.default_rng(seed)
    counts = []
    for index in range(frames):
        labels = rng.integers(0, 3 if index == 0 else 2, (9, 11)).astype(np.uint8)
        mask = np.where(rng.random(labels.shape) < error, 1, labels).astype(np.uint8)
        confidence = rng.integers(0, 256, labels.shape).astype(np.uint8) if sure else None
        counts.append(FrameCounts.of(mask, labels, confidence, classes=LABELS))
    return counts


def draws(units, seed):
    """For every resample, how often each unit is drawn."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(units, np.full(units, 1 / units), RESAMPLES)


def slowly(units, seed, name):
    values = []
    for draw in draws(len(units), seed):
        chosen = [unit for unit, times in zip(units, draw, strict=True) for _ in range(times)]
        total = chosen[0]
        for unit in chosen[1:]:
            total = total + unit
        values.append(measures(total)[name])
    return np.array(values)


@pytest.mark.parametrize('name', ['miou', 'boundary_iou', 'ece', 'auroc', 'fpr95', 'aupr_error'])
def test_an_interval_equals_a_loop_over_resamples(name):
    frames = drive(0)
    found = intervals(frames, ['a'] * 8, LABELS, resamples=RESAMPLES, seed=5)
    expected = np.quantile(slowly(frames, 5, name), [0.025, 0.975])
    np.testing.assert_allclose(found[name], expected, atol=1e-12)
    assert (found['unit'], found['units'], found['resamples']) == ('frame', 8, RESAMPLES)


def test_resamples_without_a_class_are_left_out_of_its_interval():
    frames = drive(0)
    found = intervals(frames, ['a'] * 8, LABELS, resamples=RESAMPLES, seed=5)['iou']
    each = slowly(frames, 5, 'iou')
    assert 0 < np.isnan(each[:, 2]).sum() < RESAMPLES
    np.testing.assert_allclose(found['class 2'], np.nanquantile(each[:, 2], [0.025, 0.975]))
    np.testing.assert_allclose(found['class 0'], np.quantile(each[:, 0], [0.025, 0.975]))


def test_drives_are_resampled_where_there_are_several():
    frames = drive(0, 6)
    names = ['a', 'b', 'c'] * 2
    found = intervals(frames, names, LABELS, resamples=RESAMPLES, seed=2)
    drives = [frames[index] + frames[index + 3] for index in range(3)]
    assert (found['unit'], found['units']) == ('drive', 3)
    expected = np.quantile(slowly(drives, 2, 'miou'), [0.025, 0.975])
    np.testing.assert_allclose(found['miou'], expected, atol=1e-12)
    single = intervals(frames, [*names[:-1], ''], LABELS, resamples=RESAMPLES)
    assert (single['unit'], single['units']) == ('frame', 6)


def test_intervals_are_seeded_and_json():
    frames = drive(0)
    first, again, other = (
        intervals(frames, ['a'] * 8, LABELS, resamples=RESAMPLES, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other
    json.dumps(first, allow_nan=False)


def test_the_interval_of_a_large_sample_holds_the_truth():
    """Of a mask that is right with a chance of 0.7, by a normal approximation over frames."""
    frames = drive(3, frames=200)
    found = intervals(frames, ['a'] * 200, LABELS)['accuracy']
    each = np.array([measures(frame)['accuracy'] for frame in frames])
    error = each.std() / np.sqrt(200)
    expected = each.mean() + np.array([-1.96, 1.96]) * error
    np.testing.assert_allclose(found, expected, atol=error / 4)


def test_one_unit_and_missing_scores_have_no_interval():
    alone = intervals(drive(0, 1), ['a'], LABELS)
    assert alone['units'] == 1
    assert alone['miou'] is None
    assert set(alone['iou'].values()) == {None}
    unsure = intervals(drive(0, sure=False), ['a'] * 8, LABELS, resamples=RESAMPLES)
    assert unsure['ece'] is unsure['auroc'] is unsure['ood_auroc'] is None
    assert unsure['miou'] is not None
    with pytest.raises(ValueError, match='needs frames'):
        intervals([], [], LABELS)


@pytest.mark.parametrize('name', ['miou', 'ece'])
def test_a_difference_equals_a_loop_over_the_same_resamples(name):
    ours, theirs = drive(0), drive(0, error=0.4)
    found = differences(ours, theirs, ['a'] * 8, LABELS, resamples=RESAMPLES, seed=3)[name]
    drawn = slowly(ours, 3, name) - slowly(theirs, 3, name)
    np.testing.assert_allclose(found['interval'], np.quantile(drawn, [0.025, 0.975]), atol=1e-12)
    total = [sum(frames[1:], frames[0]) for frames in (ours, theirs)]
    assert found['difference'] == pytest.approx(
        float(measures(total[0])[name] - measures(total[1])[name])
    )


@pytest.mark.parametrize('name', ['miou', 'ece'])
def test_p_is_the_share_of_swaps_with_as_large_a_difference(name):
    ours, theirs = drive(0, 5), drive(0, 5, error=0.33)
    found = differences(ours, theirs, ['a'] * 5, LABELS, resamples=16)[name]

    def difference(swaps):
        pairs = [(b, a) if s else (a, b) for a, b, s in zip(ours, theirs, swaps, strict=True)]
        left, right = (measures(sum(run[1:], run[0])) for run in zip(*pairs, strict=True))
        return abs(left[name] - right[name])

    ways = [difference(swaps) for swaps in product((0, 1), repeat=5)]
    assert found['p'] == pytest.approx(np.mean(np.array(ways) >= ways[0] - 1e-12))
    # One way fewer, and the swaps are drawn; the seen difference is one of them.
    drawn = differences(ours, theirs, ['a'] * 5, LABELS, resamples=15)[name]['p']
    assert drawn in np.arange(1, 17) / 16


def test_runs_that_are_alike_rarely_differ():
    """Of 100 comparisons of eight drives with nothing to find, about five have p below .05."""
    found = []
    for seed in range(100):
        errors = np.random.default_rng(seed).uniform(0.2, 0.5, (2, 8))
        ours, theirs = (
            [drive([seed, i, run], 1, e)[0] for i, e in enumerate(row)]
            for run, row in enumerate(errors)
        )
        found.append(differences(ours, theirs, ['a'] * 8, LABELS, resamples=128)['miou']['p'])
    assert 1 <= np.sum(np.array(found) < 0.05) <= 9


def test_a_paired_difference_is_surer_than_two_intervals():
    """Frames of very different difficulty, on each of which ours is a little better."""
    errors = np.linspace(0.05, 0.8, 12)
    ours = [drive(seed, 1, error)[0] for seed, error in enumerate(errors)]
    theirs = [drive(seed, 1, error + 0.1)[0] for seed, error in enumerate(errors)]
    names = ['a'] * 12
    left, right = (intervals(frames, names, LABELS)['miou'] for frames in (ours, theirs))
    assert left[0] < right[1]  # They overlap,
    found = differences(ours, theirs, names, LABELS)['miou']
    assert found['p'] < 0.05  # and yet the difference is significant.
    assert found['interval'][0] > 0


def test_a_few_drives_prove_nothing():
    """With three drives that are all better, every resample is, and yet a coin does as well."""
    ours, theirs = drive(0, 6, error=0.1), drive(0, 6, error=0.5)
    found = differences(ours, theirs, ['a', 'a', 'b', 'b', 'c', 'c'], LABELS)['miou']
    assert found['interval'][0] > 0
    assert found['p'] == 0.25
    assert differences(ours, theirs, ['a'] * 6, LABELS)['miou']['p'] < 0.05


def test_equal_runs_do_not_differ():
    frames = drive(0)
    found = differences(frames, frames, ['a'] * 8, LABELS, resamples=RESAMPLES)
    assert found['miou'] == {'difference': 0, 'interval': [0, 0], 'p': 1}
    assert found['iou']['class 0']['p'] == 1
    assert found['ood_auroc'] == {'difference': None, 'interval': None, 'p': None}
    json.dumps(found, allow_nan=False)


def test_other_frames_are_no_pairs():
    with pytest.raises(ValueError, match='no pairs'):
        differences(drive(0), drive(0, 5), ['a'] * 8, LABELS)
