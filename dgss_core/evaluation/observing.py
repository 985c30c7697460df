"""What needs no labels: how a drive shifts and flickers, and where two predictors disagree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.evaluation.flicker import FlickerCounts, FlickerMeter, Flow, flow_between
from dgss_core.evaluation.frames import FrameSet
from dgss_core.evaluation.predict import Show, quietly
from dgss_core.evaluation.store import PredictionStore, Stored
from dgss_core.images.compressed import decode_compressed
from dgss_core.labels import IGNORE
from dgss_core.runtime.manifest import SourceStatistics
from dgss_core.runtime.monitoring.domain_shift import DomainShiftMonitor
from dgss_core.runtime.pipeline import in_threads


@dataclass(frozen=True)
class Second:
    """A second predictor: its predictions, and the lookup tables to the ids that are compared.

    `ours`, `theirs`: uint8 (256,), for the ids of the first and of the second predictor.
    """

    store: PredictionStore
    ours: np.ndarray
    theirs: np.ndarray

    @cached_property
    def _names(self) -> set[str]:
        return self.store.names()

    def agreement(self, name: str, stored: Stored) -> float | None:
        """The share of pixels to which both predictors give the same class.

        `stored`: of the first predictor, at the size of whose mask it is measured. A pixel without
        a class in both is left out, and one outside the region of either. None if the second has
        not predicted the frame.
        """
        if name not in self._names:
            return None
        first, second = stored.unpacked(), self.store.get(name).unpacked()
        ours, theirs = (
            first.without_outside(second.without_outside(ids))
            for ids in (
                self.ours[first.mask],
                self.theirs[second.at_size(*first.mask.shape).mask],
            )
        )
        counted = (ours != IGNORE) | (theirs != IGNORE)
        return float((ours == theirs)[counted].mean()) if counted.any() else None


class Shifts:
    """The domain shift monitor on stored frames, in their order.

    Over a film it averages, as in the node; a frame of a data set is judged by itself.
    """

    def __init__(self, statistics: SourceStatistics | None, is_film: bool) -> None:
        self._statistics, self._is_film = statistics, is_film
        self._monitors: dict[str, DomainShiftMonitor] = {}

    def add(self, drive: str, stored: Stored) -> float | None:
        """The largest distance after this frame; None without statistics or descriptors."""
        if self._statistics is None or not stored.descriptors:
            return None
        new = DomainShiftMonitor(self._statistics)
        monitor = self._monitors.setdefault(drive, new) if self._is_film else new
        distances = monitor.add({name: np.array(v) for name, v in stored.descriptors.items()})
        return max(distances.values(), default=None)


def flickers(
    frames: FrameSet, places: Sequence[int], store: PredictionStore, show: Show = quietly
) -> dict[str, dict[int, FlickerCounts]]:
    """The flicker of each frame of a film, by its name and the stride.

    `places`: of the frames that are scored; those between them have no mask. Empty for frames that
    do not follow each other. It is kept in the store, as it takes as long as a small network.
    """
    if not frames.is_film:
        return {}
    keys = [frames.keys[place] for place in places]
    found = store.flicker()
    # Another set of frames has other frames before each.
    if found.keys() == {key.name for key in keys}:
        return found
    found = {}
    latest: dict[str, tuple[int, Stored]] = {}
    meters: dict[str, FlickerMeter] = {}

    def pairs() -> Iterator[tuple[Stored, Stored | None, int]]:
        for place, key in zip(places, keys, strict=True):
            stored = store.get(key.name)
            before, past = latest.get(key.drive, (place - 1, None))
            yield stored, past, place - before
            latest[key.drive] = place, stored

    def prepare(
        pair: tuple[Stored, Stored | None, int],
    ) -> tuple[np.ndarray, np.ndarray, Flow | None, int]:
        now, before, step = pair
        image, flow = decode_compressed(now.thumbnail), None
        if before is not None:
            flow = flow_between(image, decode_compressed(before.thumbnail))
        return image, now.unpacked().mask, flow, step

    prepared = show(in_threads(prepare, pairs()), f'Following {frames.title}', len(keys))
    for key, (image, mask, flow, step) in zip(keys, prepared, strict=True):
        try:
            meter = meters.setdefault(key.drive, FlickerMeter())
            found[key.name] = meter.add(image, mask, flow, step)
        except DgssError as error:
            frames.problems.add(str(error), key.name)
            meters.pop(key.drive)
    store.put_flicker(found)
    return found
