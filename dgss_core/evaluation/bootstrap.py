"""How sure a score is: intervals by resampling drives or frames, and differences of two runs.

Frames of one drive look alike, so that drives are resampled where there are several: Field and
Welsh, "Bootstrapping clustered data", JRSS B 2007. The intervals are percentiles: Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dgss_core.evaluation.counts import SUMMED, FrameCounts
from dgss_core.evaluation.measures import measures
from dgss_core.evaluation.scores import by_class, number
from dgss_core.labels import LabelSet

RESAMPLES = 1000
LEVEL = 0.95
BLOCK = 256
"""Units whose counts are in memory at once."""


def units_of(
    frames: Sequence[FrameCounts], drives: Sequence[str]
) -> tuple[str, Sequence[FrameCounts]]:
    """What is resampled: ('drive', the sum of each drive), or ('frame', frames) of one drive.

    `drives`: the drive of each frame, '' for a picture of its own; one of these, and frames are
    resampled. Two runs on the same frames get the same units.
    """
    if len(set(drives)) < 2 or not all(drives):
        return 'frame', frames
    found: dict[str, FrameCounts] = {}
    for frame, drive in zip(frames, drives, strict=True):
        found[drive] = found[drive] + frame if drive in found else frame
    return 'drive', list(found.values())


def intervals(
    frames: Sequence[FrameCounts],
    drives: Sequence[str],
    labels: LabelSet,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """95 % intervals of every score, in the form `results.Intervals`.

    An interval is [low, high]. It is None if there are fewer than two units, and if the score is
    not defined; resamples in which it is not defined are left out. The same frames and seed give
    the same intervals. `drives`: the drive of each frame. With few drives they are too narrow:
    read them with the number of units. Raises ValueError without frames.
    """
    if not frames:
        raise ValueError('an interval needs frames')
    unit, units = units_of(frames, drives)
    found: dict[str, Any] = {'unit': unit, 'units': len(units), 'resamples': resamples}
    values = measures(_resampled(units, _weights(len(units), resamples, seed)))
    iou = values.pop('iou')
    low, high = (by_class(bound, labels) for bound in _bounds(iou))
    found['iou'] = {name: _pair(low[name], high[name]) for name in low}
    return found | {name: _pair(*map(number, _bounds(value))) for name, value in values.items()}


def differences(
    ours: Sequence[FrameCounts],
    theirs: Sequence[FrameCounts],
    drives: Sequence[str],
    labels: LabelSet,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Ours minus theirs for every score, in the form `results.Differences`.

    The same frames in the same order, scored in two runs: every resample takes the same units of
    both. `p` is that of a permutation test, two-sided: if the runs were alike, each unit could
    as well come from the other one. It is the share of ways to swap units whose difference is as
    large (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, sec. 4.3): of all
    ways where `resamples` suffice for them, otherwise of as many random ones and the one that was
    seen. Two drives that are both better have 1/2. `p` and the interval are None if there are
    fewer than two units or a score is not defined. Raises ValueError for another number of frames.
    """
    if not len(ours) == len(theirs) == len(drives) or not ours:
        raise ValueError(f'{len(ours)} and {len(theirs)} frames of {len(drives)} are no pairs')
    unit, first = units_of(ours, drives)
    _, second = units_of(theirs, drives)
    drawn = _weights(len(first), resamples, seed)
    # The first row is the whole set.
    weights = np.concatenate([np.ones((1, len(first)), np.int32), drawn])
    left, right = (measures(_resampled(units, weights)) for units in (first, second))
    kept = _kept(len(first), resamples, seed)
    ours_of, theirs_of = (
        measures(_resampled(first, way) + _resampled(second, 1 - way)) for way in (kept, 1 - kept)
    )
    found = {
        name: _differences(left[name] - right[name], ours_of[name] - theirs_of[name])
        for name in left
    }
    iou = found.pop('iou')
    return {
        'unit': unit,
        'units': len(first),
        'resamples': resamples,
        'iou': dict(zip(labels.names, iou, strict=True)),
        **{name: one for name, (one,) in found.items()},
    }


def _kept(units: int, resamples: int, seed: int) -> np.ndarray:
    """Which units stay in their run, 1 or 0, int32 (ways, units); the first way keeps all.

    No ways for a single unit: nothing can be said of it.
    """
    if units < 2:
        return np.ones((0, units), np.int32)
    # A swap of every unit changes the sign alone, so that the first one need not move.
    if 2 ** (units - 1) <= resamples:
        ways = np.arange(2 ** (units - 1))
        swapped = (ways[:, None] >> np.arange(units)) & 1
    else:
        drawn = np.random.default_rng(seed).integers(0, 2, (resamples, units))
        swapped = np.concatenate([np.zeros((1, units), int), drawn])
    return (1 - swapped).astype(np.int32)


def _weights(units: int, resamples: int, seed: int) -> np.ndarray:
    """How often each unit is drawn in each resample, int32 (resamples, units).

    No resamples of a single unit: they would all be equal.
    """
    resamples = resamples if units > 1 else 0
    draw = np.random.default_rng(seed).multinomial
    return draw(units, np.full(units, 1 / units), resamples).astype(np.int32)


def _resampled(units: Sequence[FrameCounts], weights: np.ndarray) -> FrameCounts:
    """The counts of every resample, with one axis in front.

    A product of matrices of float64 is exact here: no count reaches 2^53.
    """
    sums: dict[str, np.ndarray] = {}
    for start in range(0, len(units), BLOCK):
        block = [units[index] for index in range(start, min(start + BLOCK, len(units)))]
        drawn = weights[:, start : start + BLOCK].astype(float)
        for name in SUMMED:
            flat = np.array([np.ravel(getattr(unit, name)) for unit in block])
            total = sums.setdefault(name, np.zeros((len(weights), flat.shape[1])))
            used = flat.any(0)
            total[:, used] += drawn @ flat[:, used].astype(float)
    shapes = {name: np.shape(getattr(units[0], name)) for name in SUMMED}
    summed = {name: sums[name].reshape(len(weights), *shape) for name, shape in shapes.items()}
    return FrameCounts(band=units[0].band, **summed)


def _bounds(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the interval over the first axis; nan where every value is."""
    defined = ~np.isnan(drawn).all(0)
    if not len(drawn):
        nothing = np.full(defined.shape, np.nan)
        return nothing, nothing
    outside = (1 - LEVEL) / 2
    # nanquantile warns for a column of nan.
    low, high = np.nanquantile(np.where(defined, drawn, 0), (outside, 1 - outside), axis=0)
    return np.where(defined, low, np.nan), np.where(defined, high, np.nan)


def _pair(low: float | None, high: float | None) -> list[float] | None:
    return None if low is None or high is None else [low, high]


def _differences(drawn: np.ndarray, swapped: np.ndarray) -> list[dict[str, Any]]:
    """One for each class, or one. `drawn` (1 + resamples, ...): the first is of the whole set.

    `swapped` (ways, ...): with units swapped; the first way is none.
    """
    columns = (values.reshape(len(values), -1).T for values in (drawn, swapped))
    return [_difference(*pair) for pair in zip(*columns, strict=True)]


def _difference(drawn: np.ndarray, swapped: np.ndarray) -> dict[str, Any]:
    ways = swapped[~np.isnan(swapped)]
    sure = not np.isnan(drawn[0]) and not np.isnan(drawn[1:]).all() and len(ways) > 0
    as_large = np.abs(ways) >= np.abs(drawn[0]) * (1 - 1e-9)
    return {
        'difference': number(drawn[0]),
        'interval': _pair(*map(number, _bounds(drawn[1:]))) if sure else None,
        'p': float(as_large.mean()) if sure else None,
    }
