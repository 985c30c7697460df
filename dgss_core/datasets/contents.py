"""Which classes the labels of a split hold, and whether a training could learn from them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dgss_core.datasets.pairs import Pairs
from dgss_core.datasets.sample import Dataset
from dgss_core.labels import IGNORE, LabelSet

FEW_CLASSES = 4
"""In a set of so few classes each one is expected in every split."""


def count_ids(labels: np.ndarray) -> np.ndarray:
    """Pixels of each id, int64 (256,), of labels uint8 (H, W)."""
    return np.bincount(labels.ravel(), minlength=256).astype(np.int64)


def has_own_ids(dataset: Dataset) -> bool:
    """Whether the stored ids of a dataset are the ids of its label set, without a map."""
    pairs = dataset.pairs if isinstance(dataset, Pairs) else ()
    return any(pair.labels and pair.labels.map.name == 'label set' for pair in pairs)


def label_problem(
    title: str, label_set: LabelSet, counts: np.ndarray, own_ids: bool
) -> str | None:
    """What is wrong with labels that hold `counts` pixels of each id, in a sentence; or None.

    No pixel has a label. Or, if stored ids are used as they are (`own_ids`), 255 occurs in the
    place of a class, as masks of 0 and 255 have it: only one class is labelled, or one of at most
    `FEW_CLASSES` is not.
    """
    void, classes = counts[IGNORE], counts[: len(label_set)]
    if not classes.any():
        return (
            f'{title} has no labelled pixel: all its labels are {IGNORE}, which means void; '
            'check the label files and their map.'
        )
    missing = np.flatnonzero(classes == 0).tolist()
    labelled = len(label_set) - len(missing)
    if not own_ids or not void or not missing:
        return None
    if labelled > 1 and (len(missing) > 1 or len(label_set) > FEW_CLASSES):
        return None
    names, absent = label_set.names, label_set.names[missing[0]]
    known = ', '.join(f'{i}: {name}' for i, name in enumerate(names) if i not in missing)
    return (
        f'{title}: the class {absent!r} ({missing[0]}) does not occur in any label, while '
        f'{void / counts.sum():.0%} of all pixels are {IGNORE}, which means void; if {IGNORE} is '
        f'that class, write labels: {{path: ..., ids: {{{known}, {IGNORE}: {absent}}}}} in the '
        'data set file.'
    )


def class_shares(label_set: LabelSet, counts: np.ndarray) -> str:
    """The share of each class among all pixels, and of void, in one line."""
    total = max(1, counts.sum())
    shares = [f'{name} {counts[i] / total:.1%}' for i, name in enumerate(label_set.names)]
    return ', '.join([*shares, f'void {counts[IGNORE] / total:.1%}'])


def spread(count: int) -> Iterable[int]:
    """Every index below `count` once; each start of the order is spread over all of them."""
    seen: set[int] = set()
    parts = 1
    while len(seen) < count:
        for index in dict.fromkeys(part * count // parts for part in range(parts)):
            if index not in seen:
                seen.add(index)
                yield index
        parts *= 2
