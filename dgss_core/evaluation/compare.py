"""Evaluations side by side: what differs on the frames that they share, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from dgss_core.confusion import class_iou
from dgss_core.errors import DgssError
from dgss_core.evaluation.bootstrap import RESAMPLES, differences
from dgss_core.evaluation.counts import FrameCounts
from dgss_core.evaluation.finished import Key, Run
from dgss_core.evaluation.frames import Problems
from dgss_core.evaluation.measures import class_mean, measures
from dgss_core.evaluation.results import ALL
from dgss_core.evaluation.scores import by_class, number
from dgss_core.labels import LabelSet

FORMAT = 'dgss-comparison-1'
CHANGED = 20
"""Frames whose mIoU changed most that are listed."""


def compare_runs(
    runs: Sequence[Run], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Each run against the first one, on the labelled frames that both have.

    The result is plain JSON: `pairs` holds, for each run but the first, the scores of both by
    condition and their `differences` (the run minus the first one, as from `bootstrap`), and the
    frames that changed most. `problems`: what was not compared, and why. Raises DgssError for
    runs in other label sets or bands, and for runs without a common frame.
    """
    first = runs[0]
    for other in runs[1:]:
        _check_alike(first, other)
    problems = Problems()
    for run in runs:
        if run.repeated:
            problems.add(
                f'Several frames of {run.folder} share a name and are not compared; evaluate its '
                'data sets one by one.',
                *(name for _, name in sorted(run.repeated)),
            )
    pairs = [
        _pair(first, other, (0, place), problems, resamples, seed)
        for place, other in enumerate(runs[1:], 1)
    ]
    return {
        'format': FORMAT,
        'runs': [
            {
                'folder': str(run.folder),
                'identity': run.identity,
                'protocol': run.results['protocol'],
                'frames': len(run.counts),
            }
            for run in runs
        ],
        'label_set': first.results['label_set'],
        'settings': {'band': first.band, 'resamples': resamples, 'seed': seed},
        'pairs': pairs,
        'problems': [problem.to_dict() for problem in problems],
    }


def _check_alike(first: Run, other: Run) -> None:
    ours, theirs = first.labels, other.labels
    if ours.names != theirs.names:
        raise DgssError(
            f'{first.folder} is scored in {ours.name} ({len(ours)} classes) and {other.folder} in '
            f'{theirs.name} ({len(theirs)} classes); score both in one label set by --label-set.'
        )
    if first.band != other.band:
        raise DgssError(
            f'{first.folder} has a boundary band of {first.band} pixels and {other.folder} one of '
            f'{other.band}; score one of them again with the --band of the other.'
        )


def _pair(
    first: Run,
    other: Run,
    places: tuple[int, int],
    problems: Problems,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    common = _common(first, other, problems)
    groups = {ALL: common}
    for key in common:
        groups.setdefault(first.conditions[key], []).append(key)
    return {
        'runs': [*places],
        'frames': len(common),
        'conditions': {
            name: _scored(first, other, keys, resamples, seed) for name, keys in groups.items()
        },
        'changed': _changed(first, other, common),
    }


def _common(first: Run, other: Run, problems: Problems) -> list[Key]:
    """The frames that both have with equal labels; the others become problems."""
    shared = [key for key in first.counts if key in other.counts]
    for run, against in ((first, other), (other, first)):
        alone = [name for drive, name in run.counts if (drive, name) not in against.counts]
        if alone:
            problems.add(
                f'A labelled frame of {run.folder} is not one of {against.folder} and is not '
                'compared; evaluate both on the same data.',
                *alone,
            )
    equal = [key for key in shared if _same_labels(first.counts[key], other.counts[key])]
    if len(equal) < len(shared):
        problems.add(
            f'A frame has other labels in {first.folder} than in {other.folder} and is not '
            'compared; evaluate both with the same labels and protocol.',
            *(name for drive, name in shared if (drive, name) not in {*equal}),
        )
    if not equal:
        reason = f' ({len(shared)} have the same name, but other labels)' if shared else ''
        raise DgssError(
            f'{first.folder} ({len(first.counts)} labelled frames) and {other.folder} '
            f'({len(other.counts)}) have no labelled frame in common{reason}; evaluate both on '
            'the same data.'
        )
    return equal


def _same_labels(one: FrameCounts, other: FrameCounts) -> bool:
    return bool((one.confusion.sum(1) == other.confusion.sum(1)).all())


def _scored(
    first: Run, other: Run, keys: Sequence[Key], resamples: int, seed: int
) -> dict[str, Any]:
    sides = [[run.counts[key] for key in keys] for run in (first, other)]
    drives = [drive for drive, _ in keys]
    return {
        'frames': len(keys),
        'scores': [_scores(side, first.labels) for side in sides],
        'differences': differences(
            sides[1], sides[0], drives, first.labels, resamples=resamples, seed=seed
        ),
    }


def _scores(frames: Sequence[FrameCounts], labels: LabelSet) -> dict[str, Any]:
    values = measures(reduce(add, frames))
    iou = by_class(values.pop('iou'), labels)
    return {**{name: number(value) for name, value in values.items()}, 'iou': iou}


def _changed(first: Run, other: Run, keys: Sequence[Key]) -> list[dict[str, Any]]:
    """The frames whose mIoU differs most, the largest difference first."""
    found: list[dict[str, Any]] = []
    for key in keys:
        ious = [class_iou(run.counts[key].confusion) for run in (first, other)]
        before, after = (number(class_mean(iou)) for iou in ious)
        if before is not None and after is not None and before != after:
            found.append(
                {
                    'name': key[1],
                    'drive': key[0],
                    'condition': first.conditions[key],
                    'miou': [before, after],
                    'difference': after - before,
                }
            )
    found.sort(key=lambda entry: (-abs(entry['difference']), entry['name']))
    return found[:CHANGED]
