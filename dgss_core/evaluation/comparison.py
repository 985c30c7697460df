"""Two evaluations of the same frames: what has changed, how surely, and in which frames."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.evaluation.bootstrap import RESAMPLES, differences
from dgss_core.evaluation.counts import FrameCounts, from_arrays
from dgss_core.evaluation.folder import COUNTS, read_results
from dgss_core.evaluation.frames import LISTED
from dgss_core.evaluation.results import ALL
from dgss_core.labels import LabelSet

MOST_CHANGED = 20
"""Frames that are listed."""

FACTS = ('name', 'drive', 'condition', 'miou')
"""What is read of each frame of the results."""

Key = tuple[str, str, int]
"""The drive and the name of a frame, and which of those of the same name it is."""


@dataclass(frozen=True)
class Run:
    """An evaluation. `counts`: of every frame of its results, in their order."""

    name: str
    results: Mapping[str, Any]
    counts: Sequence[FrameCounts]

    @classmethod
    def load(cls, folder: Path) -> Run:
        """From the output of an evaluation. Raises DgssError if it is not a whole one."""
        results = read_results(folder)
        path = folder / COUNTS if folder.is_dir() else folder.parent / COUNTS
        try:
            with np.load(path, allow_pickle=False) as arrays:
                run = cls(str(folder), results, from_arrays(arrays))
            if len(run.counts) != len(results['frames']):
                raise ValueError(f'{len(run.counts)} counts of {len(results["frames"])} frames')
            _ = [[frame[key] for key in FACTS] for frame in results['frames']]
            _ = run.label_set, [*results['conditions']]
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DgssError(
                f'{path} and the results beside it do not fit together ({error}); evaluate again.'
            ) from error
        return run

    @property
    def label_set(self) -> LabelSet:
        """That of the scores."""
        found = self.results['label_set']
        labels = [{**entry, 'id': index} for index, entry in enumerate(found['classes'])]
        return LabelSet.from_dict({'name': found['name'], 'labels': labels}, self.name)

    def labelled(self) -> dict[Key, int]:
        """The places of the labelled frames."""
        seen: Counter[tuple[str, str]] = Counter()
        found = {}
        for place, frame in enumerate(self.results['frames']):
            drive, name = frame['drive'], frame['name']
            if self.counts[place].frames:
                found[drive, name, seen[drive, name]] = place
            seen[drive, name] += 1
        return found


def compare(
    ours: Run, theirs: Run, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """What `ours` does better or worse than `theirs`, on the frames that both have labels of.

    `conditions`: by name, and `ALL`, in the form `results.Differences`. `changed`: the frames
    whose mIoU differs most. `left_out`: frames that only one run has, or whose labels differ.
    Raises DgssError if the runs have other classes or bands, or no frame in common.
    """
    labels = _common_labels(ours, theirs)
    first, second = ours.labelled(), theirs.labelled()
    common = [key for key in first if key in second]
    same = [key for key in common if _same(ours.counts[first[key]], theirs.counts[second[key]])]
    matching = {*same}
    if not same:
        raise DgssError(
            f'{ours.name} and {theirs.name} have no labelled frame in common; evaluate both on '
            'the same data.'
        )
    facts = [ours.results['frames'][first[key]] for key in same]
    others = [theirs.results['frames'][second[key]] for key in same]
    conditions = {}
    for name in dict.fromkeys((ALL, *ours.results['conditions'])):
        group = [k for k, f in zip(same, facts, strict=True) if name in (ALL, f['condition'])]
        if group:
            conditions[name] = {'frames': len(group)} | differences(
                [ours.counts[first[key]] for key in group],
                [theirs.counts[second[key]] for key in group],
                [drive for drive, _, _ in group],
                labels,
                resamples=resamples,
                seed=seed,
            )
    return {
        'ours': ours.name,
        'theirs': theirs.name,
        'frames': len(same),
        'left_out': {
            'only_ours': _listed(key for key in first if key not in second),
            'only_theirs': _listed(key for key in second if key not in first),
            'other_labels': _listed(key for key in common if key not in matching),
        },
        'conditions': conditions,
        'changed': _most_changed(facts, others),
    }


def _common_labels(ours: Run, theirs: Run) -> LabelSet:
    first, second = ours.label_set, theirs.label_set
    bands = {counts.band for run in (ours, theirs) for counts in run.counts[:1]}
    if first.names != second.names:
        raise DgssError(
            f'{ours.name} is scored in {first.name} and {theirs.name} in {second.name}; score '
            'both in one --label-set.'
        )
    if len(bands) > 1:
        raise DgssError(
            f'{ours.name} and {theirs.name} have bands of {" and ".join(map(str, bands))} pixels; '
            'score both with one --band.'
        )
    return first


def _same(ours: FrameCounts, theirs: FrameCounts) -> bool:
    """Whether a frame has the same labels in both runs, as far as the counts tell."""
    return np.array_equal(ours.confusion.sum(1), theirs.confusion.sum(1))


def _listed(keys: Iterable[Key]) -> dict[str, Any]:
    names = [name for _, name, _ in keys]
    return {'count': len(names), 'frames': names[:LISTED]}


def _most_changed(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    found = [
        {
            'name': a['name'],
            'drive': a['drive'],
            'condition': a['condition'],
            'ours': a['miou'],
            'theirs': b['miou'],
            'difference': a['miou'] - b['miou'],
        }
        for a, b in zip(ours, theirs, strict=True)
        if a['miou'] is not None and b['miou'] is not None and a['miou'] != b['miou']
    ]
    return sorted(found, key=lambda entry: -abs(entry['difference']))[:MOST_CHANGED]
