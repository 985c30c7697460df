"""The weights of a training that starts from a checkpoint, which may know other classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from dgss_core.labels import IGNORE, LabelSet
from dgss_core.networks.importers.keys import load_exactly, shorten
from dgss_core.networks.systems import SegmentationModel


def start_from(known: SegmentationModel, model: SegmentationModel, origin: str) -> str:
    """Load the weights of `known` into `model`; say which classes keep theirs, '' if all do.

    The rows of the last layer, also of auxiliary heads, go by the names of the classes, or by a
    merge that one of the two label sets defines: a class that several merge into gets their mean.
    The rows of all other classes stay as they were drawn. Raises DgssError for a model of other
    shapes.
    """
    weights = dict(known.state_dict())
    if known.label_set.names == model.label_set.names:
        load_exactly(model, weights, origin)
        return ''
    rows = class_rows(known.label_set, model.label_set)
    prefixes = tuple(f'head.{layer}.' for layer in model.head.classifiers)
    for key, own in model.state_dict().items():
        if key.startswith(prefixes) and key in weights and weights[key].shape[1:] == own.shape[1:]:
            weights[key] = _with_rows(weights[key], own, rows)
    load_exactly(model, weights, origin)
    return f'{origin} knows other classes: {_described(known.label_set, model.label_set, rows)}.'


def class_rows(before: LabelSet, now: LabelSet) -> list[list[int]]:
    """For each class of `now` the ids of `before` that it comes from; empty for a new class.

    Raises DgssError for a merge with an unknown class.
    """
    rows: list[list[int]] = [[] for _ in now.names]
    if now.name in before.merges or set(now.names) == set(before.names):
        table = before.merge_to(now)[: len(before)]
        rows = [np.flatnonzero(table == index).tolist() for index in now.ids]
    elif before.name in now.merges:
        rows = [
            [id_] if id_ != IGNORE else [] for id_ in now.merge_to(before)[: len(now)].tolist()
        ]
    known = {name: [index] for index, name in enumerate(before.names)}
    return [found or known.get(name, []) for found, name in zip(rows, now.names, strict=True)]


def _with_rows(before: Tensor, own: Tensor, rows: Sequence[Sequence[int]]) -> Tensor:
    """`own` with the rows of `before`; a row after the last class, "no object", is taken over."""
    result = own.clone()
    for index, ids in enumerate(rows):
        if ids:
            result[index] = before[list(ids)].mean(dim=0)
    if len(own) > len(rows):
        result[-1] = before[-1]
    return result


def _described(before: LabelSet, now: LabelSet, rows: Sequence[Sequence[int]]) -> str:
    names = dict(zip(now.names, ([before.names[i] for i in ids] for ids in rows), strict=True))
    parts = {
        'keeps the weights of ': [name for name, found in names.items() if found == [name]],
        'takes ': [
            f'those of {" and ".join(found)} for {name}'
            for name, found in names.items()
            if found and found != [name]
        ],
        'draws anew ': [name for name, found in names.items() if not found],
    }
    said = [f'{verb}{shorten(entries, 5)}' for verb, entries in parts.items() if entries]
    return f'of {len(before)} classes to {len(now)}, the last layer {", ".join(said)}'
