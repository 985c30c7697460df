"""The frames that a report shows, and the picture of their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dgss_core.labels import IGNORE

EACH = 4
"""Worst frames, and typical ones, of a condition."""
ENOUGH = 0.5
"""Of the median number of labelled pixels: a frame with fewer says little about its classes."""
APART = 5
"""Places in a drive: frames nearer to each other show the same scene."""

RIGHT = 254
RIGHT_GREY, UNLABELLED_GREY = 208, 24


@dataclass(frozen=True)
class Choice:
    """A frame to show: its place in `results['frames']`, and 'worst' or 'typical'."""

    frame: int
    note: str


def choose(frames: Sequence[Mapping[str, Any]], each: int = EACH) -> list[Choice]:
    """The `each` worst and the `each` typical frames of every condition, worst first.

    `frames`: as in `results.json`. Worst are those of the lowest mIoU with enough labelled pixels,
    typical those around the median. Where no frame has labels, they are ranked by the agreement
    with the second bundle, or by the confidence.
    """
    groups: dict[str, list[int]] = {}
    for place, frame in enumerate(frames):
        groups.setdefault(frame['condition'], []).append(place)
    chosen = []
    for places in groups.values():
        ranked = _ranked(places, frames)
        worst = _spread(ranked, frames, each)
        typical = _spread(_from_the_middle(ranked, worst), frames, each)
        chosen += [Choice(place, 'worst') for place in worst]
        chosen += [Choice(place, 'typical') for place in typical]
    return chosen


def _ranked(places: Sequence[int], frames: Sequence[Mapping[str, Any]]) -> list[int]:
    """The places of frames that can be compared, the worst first."""
    for key in ('miou', 'agreement', 'confidence'):
        values = {place: frames[place].get(key) for place in places}
        known = {place: value for place, value in values.items() if value is not None}
        if known:
            if key == 'miou':
                known = _with_enough(known, frames)
            return sorted(known, key=lambda place: (known[place], place))
    return []


def _with_enough(
    values: Mapping[int, float], frames: Sequence[Mapping[str, Any]]
) -> dict[int, float]:
    pixels = {place: frames[place]['labelled_pixels'] for place in values}
    least = ENOUGH * float(np.median([*pixels.values()]))
    return {place: value for place, value in values.items() if pixels[place] >= least}


def _from_the_middle(ranked: Sequence[int], without: Sequence[int]) -> list[int]:
    """The places of `ranked`, those next to its median first."""
    middle = len(ranked) // 2
    order = {place: abs(rank - middle) for rank, place in enumerate(ranked)}
    return sorted((place for place in ranked if place not in without), key=lambda p: order[p])


def _spread(places: Sequence[int], frames: Sequence[Mapping[str, Any]], count: int) -> list[int]:
    """The first `count` places that are apart in their drive; near ones only if there are few."""
    found: list[int] = []
    for place in places:
        if len(found) < count and not any(_near(place, other, frames) for other in found):
            found.append(place)
    found += [place for place in places if place not in found][: count - len(found)]
    return found


def _near(one: int, other: int, frames: Sequence[Mapping[str, Any]]) -> bool:
    same = all(frames[one][key] == frames[other][key] for key in ('source', 'drive'))
    return same and bool(frames[one]['drive']) and abs(one - other) < APART


def error_indices(mask: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where a mask is wrong, uint8 (H, W), for `error_palette`.

    `mask`, `labels`: uint8 (H, W), 255 is none. A wrong pixel keeps the class that was predicted,
    or 253 where none was; a right one is 254, and one without a label 255.
    """
    wrong = np.where(mask == IGNORE, np.uint8(RIGHT - 1), mask)
    shown = np.where(mask == labels, np.uint8(RIGHT), wrong)
    return np.where(labels == IGNORE, np.uint8(IGNORE), shown)


def error_palette(colors: np.ndarray) -> np.ndarray:
    """The colours of `error_indices`, RGB uint8 (256, 3), from those of the classes."""
    palette = colors.copy()
    palette[RIGHT - 1] = 255
    palette[RIGHT], palette[IGNORE] = RIGHT_GREY, UNLABELLED_GREY
    return palette
