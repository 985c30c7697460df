"""Scores in their JSON form, from counts; the summaries over conditions.

The scores and the summary are those of the BRAVO challenge (Vu et al., "The BRAVO Semantic
Segmentation Challenge Results in UNCV2024"; definitions: valeoai/bravo_challenge, commit d54005d,
eval/eval_script.py), computed over all pixels instead of a sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import chain
from statistics import harmonic_mean
from typing import Any

import numpy as np

from dgss_core.evaluation.counts import FrameCounts
from dgss_core.evaluation.measures import class_mean, measures, reliability
from dgss_core.labels import LabelSet

ABSENT = 'neither labelled nor predicted: left out of the mean'
UNLABELLED = 'predicted but never labelled: IoU 0, part of the mean'

SEMANTIC = ('miou', 'ece', 'auroc', 'fpr95', 'aupr_success', 'aupr_error')
OOD = ('auroc', 'auprc', 'fpr95')
REVERSED = ('ece', 'fpr95')
"""Lower is better."""


def scores(counts: FrameCounts, labels: LabelSet) -> dict[str, Any]:
    """The scores of a set of frames in the form `results.Scores`: plain values, None for nan.

    `labels`: the label set in which the frames were counted. Raises ValueError for another number
    of classes.
    """
    if counts.confusion.shape != (len(labels), len(labels) + 1):
        raise ValueError(f'{counts.confusion.shape} are no counts of {len(labels)} classes')
    values = measures(counts)
    iou = values.pop('iou')
    found = {name: number(value) for name, value in values.items()}
    ood = {name: found.pop(f'ood_{name}') for name in OOD}
    ood_pixels = int(counts.known.sum() + counts.unknown.sum())
    return {
        'frames': int(counts.frames),
        'pixels': int(counts.pixels),
        'labelled_pixels': int(counts.confusion.sum()),
        **found,
        'iou': by_class(iou, labels),
        'subsets': {
            name: number(class_mean(iou[list(members)]))
            for name, members in labels.subsets.items()
        },
        **_absent(counts.confusion, labels),
        'boundary_band': counts.band,
        'boundary_pixels': int(counts.boundary.sum()),
        'confidence_pixels': int(counts.right.sum() + counts.wrong.sum()),
        'reliability': _reliability(counts),
        'ood': {'pixels': ood_pixels, **ood} if ood_pixels else None,
    }


def retention(conditions: Mapping[str, Mapping[str, Any]], normal: str) -> dict[str, Any]:
    """The mIoU of every other condition, divided by that of the `normal` one; and their mean.

    `conditions`: by name, as from `scores`, without a sum of them. A ratio is None if one of its
    mIoUs is None, or the normal one is absent or 0. The mean is over the ratios that are known.
    """
    base = conditions.get(normal, {}).get('miou')
    ratios = {
        name: found['miou'] / base if base and found['miou'] is not None else None
        for name, found in conditions.items()
        if name != normal
    }
    return {'normal': normal, 'conditions': ratios, 'mean': average(ratios.values())}


def bravo(conditions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """BRAVO's harmonic means over `conditions`, by name, as from `scores`.

    ECE and FPR95 enter as 1 - x. `conditions`: one mean for each, of its semantic and OOD scores.
    `semantic`, `ood`: one mean of these scores of all conditions. `index`: of these two. A
    condition without labels has no semantic scores, and one without OOD labels no OOD scores. A
    mean is None if there is nothing to average or a score is None: without confidence, or
    where no pixel is wrong, fewer scores would make a mean that compares with no other.
    """
    semantic = {
        name: [_upward(found, key) for key in SEMANTIC] if found['labelled_pixels'] else []
        for name, found in conditions.items()
    }
    ood = {
        name: [_upward(found['ood'], key) for key in OOD] if found['ood'] else []
        for name, found in conditions.items()
    }
    means = [_harmonic([*chain(*group.values())]) for group in (semantic, ood)]
    return {
        'conditions': {name: _harmonic(semantic[name] + ood[name]) for name in conditions},
        'semantic': means[0],
        'ood': means[1],
        'index': _harmonic(means),
    }


def average(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def number(value: float | np.ndarray) -> float | None:
    """A float for JSON: None for nan."""
    return None if math.isnan(value) else float(value)


def by_class(values: np.ndarray, labels: LabelSet) -> dict[str, float | None]:
    """Values (N,) by the name of their class."""
    return {name: number(value) for name, value in zip(labels.names, values, strict=True)}


def _absent(confusion: np.ndarray, labels: LabelSet) -> dict[str, Any]:
    labelled, predicted = confusion.sum(1) > 0, confusion[:, :-1].sum(0) > 0
    return {
        key: {
            'classes': [labels.names[index] for index in np.flatnonzero(chosen)],
            'treatment': treatment,
        }
        for key, chosen, treatment in (
            ('absent', ~labelled & ~predicted, ABSENT),
            ('unlabelled', ~labelled & predicted, UNLABELLED),
        )
    }


def _reliability(counts: FrameCounts) -> list[dict[str, Any]]:
    return [
        {'pixels': int(pixels), 'confidence': number(confidence), 'accuracy': number(accuracy)}
        for pixels, confidence, accuracy in zip(
            *reliability(counts.right, counts.wrong), strict=True
        )
    ]


def _upward(found: Mapping[str, Any], key: str) -> float | None:
    value = found[key]
    return 1 - value if key in REVERSED and value is not None else value


def _harmonic(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    complete = known and len(known) == len(values)
    return float(harmonic_mean(known)) if complete else None
