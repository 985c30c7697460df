"""Score what a store holds: the pixel counts of every frame, and what changes over a drive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.evaluation.counts import BAND, FrameCounts
from dgss_core.evaluation.flicker import FlickerCounts
from dgss_core.evaluation.frames import FrameKey, FrameSet
from dgss_core.evaluation.observing import Second, Shifts, flickers
from dgss_core.evaluation.predict import Show, quietly
from dgss_core.evaluation.store import Predicted, PredictionStore, Stored
from dgss_core.labels import LabelSet
from dgss_core.runtime.manifest import SourceStatistics

Given = TypeVar('Given')
Made = TypeVar('Made')


@dataclass
class ScoredFrame:
    """A frame that was predicted, the `place`-th of the set of frames number `source`.

    `counts`: None without labels. `confidence`: its mean, 0 to 1, None if the predictor gives
    none. `shift`: the largest distance of the domain shift monitor, in standard deviations of the
    source, None for a bundle without statistics. `flicker`: by stride, of a film. `agreement`: the
    share of pixels in which a second predictor gives the same class, None without one. `seconds`:
    of the network.
    """

    key: FrameKey
    source: int
    place: int
    counts: FrameCounts | None
    confidence: float | None
    shift: float | None = None
    flicker: dict[int, FlickerCounts] = field(default_factory=dict)
    agreement: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Classes:
    """How ids become those of the label set of the scores.

    `masks`, `labels`: lookup tables, uint8 (256,).
    """

    label_set: LabelSet
    masks: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, predicted: LabelSet, labelled: LabelSet, scored: LabelSet) -> Classes:
        """Raises DgssError if a set has no merge to `scored`."""
        return cls(scored, predicted.merge_to(scored), labelled.merge_to(scored))


def score(
    frames: FrameSet,
    store: PredictionStore,
    classes: Classes,
    *,
    source: int = 0,
    band: int = BAND,
    statistics: SourceStatistics | None = None,
    second: Second | None = None,
    show: Show = quietly,
) -> list[ScoredFrame]:
    """Score the frames that the store holds, in their order.

    `source`: the place of `frames` among all sets. `statistics`: of the bundle, for the shift.
    Labels that cannot be read, or do not fit, become problems of `frames`.
    """
    names = store.names()
    places = [index for index, key in enumerate(frames.keys) if key.name in names]
    keys = [frames.keys[index] for index in places]
    counts = dict(_counted(frames, places, store, classes, band, show))
    flicker = flickers(frames, keys, store, show)
    shifts = Shifts(statistics, frames.is_film)
    scored = []
    for index, key in zip(places, keys, strict=True):
        stored = store.get(key.name)
        scored.append(
            ScoredFrame(
                key,
                source,
                index,
                counts.get(index),
                stored.certainty,
                shifts.add(key.drive, stored),
                flicker.get(key.name, {}),
                second.agreement(key.name, stored) if second else None,
                stored.seconds,
            )
        )
    return scored


def _counted(
    frames: FrameSet,
    places: list[int],
    store: PredictionStore,
    classes: Classes,
    band: int,
    show: Show,
) -> Iterator[tuple[int, FrameCounts]]:
    """The counts of each labelled frame, by its place; the frames are counted in threads."""

    def work() -> Iterator[tuple[int, Callable[[], np.ndarray], Stored]]:
        for index, read in frames.labels(places):
            yield index, read, store.get(frames.keys[index].name)

    def count(
        entry: tuple[int, Callable[[], np.ndarray], Stored],
    ) -> tuple[int, FrameCounts | DgssError]:
        index, read, stored = entry
        try:
            return index, count_frame(stored.unpacked(), read(), classes, band)
        except DgssError as error:
            return index, error

    results = in_threads(count, work())
    for index, result in show(results, f'Scoring {frames.title}', len(places)):
        if isinstance(result, DgssError):
            frames.problems.add(str(result), frames.keys[index].name)
        else:
            yield index, result


def count_frame(
    predicted: Predicted, labels: np.ndarray, classes: Classes, band: int = BAND
) -> FrameCounts:
    """The counts of one frame at the size of its labels, uint8 (H, W)."""
    answer = predicted.at_size(*labels.shape)
    return FrameCounts.of(
        classes.masks[answer.mask],
        classes.labels[labels],
        None if predicted.confidence is None else answer.confidence,
        classes=classes.label_set,
        band=band,
    )


def in_threads(call: Callable[[Given], Made], items: Iterator[Given]) -> Iterator[Made]:
    """`map` in one thread for each core, only a few items ahead of the last result."""
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(call, item) for item in islice(items, 2 * threads)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(call, item) for item in islice(items, 1)]
