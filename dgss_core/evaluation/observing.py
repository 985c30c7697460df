"""What needs no labels: how a drive shifts and flickers, and where two predictors disagree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.evaluation.flicker import FlickerCounts, FlickerMeter
from dgss_core.evaluation.frames import FrameKey, FrameSet
from dgss_core.evaluation.predict import Show, quietly
from dgss_core.evaluation.store import PredictionStore
from dgss_core.images.compressed import decode_compressed
from dgss_core.labels import IGNORE
from dgss_core.runtime.manifest import SourceStatistics
from dgss_core.runtime.monitoring.domain_shift import DomainShiftMonitor


@dataclass(frozen=True)
class Second:
    """A second predictor: its predictions, and the lookup tables to the ids that are compared.

    `ours`, `theirs`: uint8 (256,), for the ids of the first and of the second predictor.
    """

    store: PredictionStore
    ours: np.ndarray
    theirs: np.ndarray


def shifts(
    frames: FrameSet,
    keys: Sequence[FrameKey],
    store: PredictionStore,
    statistics: SourceStatistics | None,
) -> Iterator[float | None]:
    """The largest distance of the domain shift monitor after each frame; None without one.

    Over a film the monitor averages, as in the node; a frame of a data set is judged by itself.
    """
    monitors: dict[str, DomainShiftMonitor] = {}
    for key in keys:
        described = store.get(key.name).descriptors if statistics else {}
        if statistics is None or not described:
            yield None
            continue
        new = DomainShiftMonitor(statistics)
        monitor = monitors.setdefault(key.drive, new) if frames.is_film else new
        distances = monitor.add({name: np.array(v) for name, v in described.items()})
        yield max(distances.values(), default=None)


def flickers(
    frames: FrameSet, keys: Sequence[FrameKey], store: PredictionStore, show: Show = quietly
) -> dict[str, dict[int, FlickerCounts]]:
    """The flicker of each frame of a film, by its name and the stride.

    Empty for frames that do not follow each other. It is kept in the store, as it takes as long as
    a small network.
    """
    if not frames.is_film:
        return {}
    found = store.flicker()
    if found.keys() >= {key.name for key in keys}:
        return found
    meters: dict[str, FlickerMeter] = {}
    for key in show(keys, f'Comparing the frames of {frames.title}', len(keys)):
        stored = store.get(key.name)
        image, mask = decode_compressed(stored.thumbnail), stored.unpacked().mask
        try:
            found[key.name] = meters.setdefault(key.drive, FlickerMeter()).add(image, mask)
        except DgssError as error:
            frames.problems.add(str(error), key.name)
            meters.pop(key.drive)
    store.put_flicker(found)
    return found


def agreements(
    keys: Sequence[FrameKey], store: PredictionStore, second: Second | None
) -> Iterator[float | None]:
    """The share of pixels to which both predictors give the same class; None without a second.

    At the size of the first predictor's mask. A pixel without a class in both is left out.
    """
    others = second.store.names() if second else set()
    for key in keys:
        if second is None or key.name not in others:
            yield None
            continue
        mask = store.get(key.name).unpacked().mask
        ours = second.ours[mask]
        theirs = second.theirs[second.store.get(key.name).unpacked().at_size(*mask.shape).mask]
        counted = (ours != IGNORE) | (theirs != IGNORE)
        yield float((ours == theirs)[counted].mean()) if counted.any() else None
