"""The frames of an evaluation, drive by drive, with everything in the size of the image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from dgss_core.evaluation.frames import Sets
from dgss_core.evaluation.revisit import has_labels, revisit
from dgss_core.evaluation.run import Evaluation
from dgss_core.evaluation.scoring import ScoredFrame
from dgss_core.images.frames import FIRST_STAMP_NS, FPS, period_ns
from dgss_core.images.view import nearest
from dgss_core.labels import LabelSet

SHIFT = 'shift'
SCORES = ('miou', 'accuracy', 'confidence', SHIFT, 'flicker', 'agreement')
"""The facts of a frame in `results.json` that change over a drive: shares, but for `SHIFT`."""
LONGEST = 60
"""Characters of the title in a name."""


@dataclass(frozen=True)
class Shown:
    """A frame. `image`: RGB uint8 (H, W, 3). `stamp_ns`: of a bag; elsewhere ten frames a second.

    `mask`, `labels`: ids of the label set of the results, 255 is none. `confidence`: 255 is
    certain. All uint8 (H, W); labels and confidence are None where there are none. `facts`: those
    of `SCORES` that were measured.
    """

    name: str
    place: int
    drive: str
    condition: str
    stamp_ns: int
    image: np.ndarray
    mask: np.ndarray
    confidence: np.ndarray | None
    labels: np.ndarray | None
    facts: Mapping[str, float]


@dataclass(frozen=True)
class Drive:
    """A bag or a data set. `name`: unique, of a file. `frames`: read as they are iterated."""

    name: str
    title: str
    has_labels: bool
    frames: Iterator[Shown]


def drives(sets: Sets, labels: LabelSet, done: Evaluation) -> Iterator[Drive]:
    """All frames that were predicted. `labels`: the label set of the predictions.

    Iterate the frames of a drive before the next one.
    """
    facts = {
        (frame.source, frame.place): fact
        for frame, fact in zip(done.frames, done.results['frames'], strict=True)
    }
    for number, of_set in groupby(done.frames, key=lambda frame: frame.source):
        frames = [*of_set]
        title = done.parts[number].source['title']
        yield Drive(
            f'{number:03d}_{_slug(title)}',
            title,
            any(map(has_labels, frames)),
            _shown(sets, labels, done, frames, facts),
        )


def _shown(
    sets: Sets,
    labels: LabelSet,
    done: Evaluation,
    frames: Sequence[ScoredFrame],
    facts: Mapping[tuple[int, int], Mapping[str, Any]],
) -> Iterator[Shown]:
    for one in revisit(sets, labels, done, frames):
        key, place = one.frame.key, one.frame.place
        height, width = one.image.shape[:2]
        answer = replace(one.answer, mask=one.mask).at_size(height, width)
        stamp_ns = key.stamp_ns or FIRST_STAMP_NS + round(place * period_ns(FPS))
        of_frame = facts[one.frame.source, place]
        yield Shown(
            key.name,
            place,
            key.drive,
            key.condition,
            stamp_ns,
            one.image,
            answer.mask,
            None if one.answer.confidence is None else answer.confidence,
            None if one.labels is None else nearest(one.labels, width=width, height=height),
            {name: of_frame[name] for name in SCORES if of_frame[name] is not None},
        )


def _slug(title: str) -> str:
    return re.sub(r'[^A-Za-z0-9.-]+', '_', title).strip('_.')[:LONGEST] or 'frames'
