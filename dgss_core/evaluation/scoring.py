"""Score what a store holds: the pixel counts of every frame, and what changes over a drive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.evaluation.conditions import IGNORE as IGNORED
from dgss_core.evaluation.counts import BAND, FrameCounts, PackedCounts
from dgss_core.evaluation.estimation import ConditionModel, estimates
from dgss_core.evaluation.flicker import FlickerCounts
from dgss_core.evaluation.frames import UNKNOWN, FrameKey, FrameSet
from dgss_core.evaluation.observing import Second, Shifts, flickers
from dgss_core.evaluation.ood import OodFolder
from dgss_core.evaluation.predict import Show, quietly
from dgss_core.evaluation.predictors import SAME_SHAPE
from dgss_core.evaluation.store import Predicted, PredictionStore, Stored
from dgss_core.images.compressed import decode_compressed
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.runtime.manifest import SourceStatistics
from dgss_core.runtime.pipeline import in_threads

Read = Callable[[], np.ndarray]
"""Reads the labels of a frame, uint8 (H, W)."""


@dataclass
class ScoredFrame:
    """A frame that was predicted, the `place`-th of the set of frames number `source`.

    `counts`: None without labels. `confidence`: mean, 0 to 1, None if the predictor gives none.
    `shift`: the largest distance of the domain shift monitor, in standard deviations of the
    source, None for a bundle without statistics. `flicker`: by stride, of a film. `agreement`: the
    share of pixels in which a second predictor gives the same class, None without one. `seconds`:
    of the network. `estimate`: the condition as estimated from the image, None if it was not asked
    for. `is_told`: False if the condition of `key` is that estimate, as nobody said it.
    """

    key: FrameKey
    source: int
    place: int
    counts: PackedCounts | None
    confidence: float | None
    shift: float | None = None
    flicker: dict[int, FlickerCounts] = field(default_factory=dict)
    agreement: float | None = None
    seconds: float | None = None
    estimate: str | None = None
    is_told: bool = True


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
        # The label set of a bundle cannot be edited; that of the labels can.
        advice = f'score in {predicted.name} with --label-set'
        if predicted.name not in (labelled.name, *labelled.merges):
            advice = (
                f'add a merges: {predicted.name}: section to the file of {labelled.name}, and '
                f'{advice}'
            )
        return cls(scored, predicted.merge_to(scored, advice), labelled.merge_to(scored))


def score(
    frames: FrameSet,
    store: PredictionStore,
    classes: Classes,
    *,
    source: int = 0,
    band: int = BAND,
    statistics: SourceStatistics | None = None,
    second: Second | None = None,
    ood: OodFolder | None = None,
    estimate: bool = False,
    show: Show = quietly,
) -> list[ScoredFrame]:
    """Score the frames that the store holds, in their order, without those of ignored ranges.

    `source`: the place of `frames` among all sets. `statistics`: of the bundle, for the shift.
    `ood`: labels of what lies outside the distribution; a frame may have them alone.
    `estimate`: estimate the condition of every frame; those whose condition is unknown get it.
    Labels that cannot be read, or do not fit, become problems of `frames`.
    """
    names = store.names()
    # The store may hold them from an earlier run, of other ranges.
    places = [
        index
        for index, key in enumerate(frames.keys)
        if key.name in names and key.condition != IGNORED
    ]
    keys = [frames.keys[index] for index in places]
    counts = dict(_counted(frames, places, store, classes, band, ood, show))
    flicker = flickers(frames, places, store, show)
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
    if estimate:
        _estimate(scored, store)
    return scored


def _estimate(frames: Sequence[ScoredFrame], store: PredictionStore) -> None:
    model = ConditionModel.load()
    log_odds = [
        model.log_odds(decode_compressed(store.get(frame.key.name).thumbnail)) for frame in frames
    ]
    # Drives of one name under two conditions are two recordings.
    drives = [frame.key.drive and f'{frame.key.drive} {frame.key.condition}' for frame in frames]
    for frame, name in zip(frames, estimates(log_odds, drives), strict=True):
        frame.estimate = name
        if frame.key.condition == UNKNOWN:
            frame.key, frame.is_told = replace(frame.key, condition=name), False


def _counted(
    frames: FrameSet,
    places: list[int],
    store: PredictionStore,
    classes: Classes,
    band: int,
    ood: OodFolder | None,
    show: Show,
) -> Iterator[tuple[int, PackedCounts]]:
    """The counts of each labelled frame, by its place; the frames are counted in threads."""

    def work() -> Iterator[tuple[int, Read | None, Stored]]:
        labelled = set()
        for index, read in frames.labels(places):
            labelled.add(index)
            yield index, read, store.get(frames.keys[index].name)
        for index in places:
            if ood and index not in labelled and (name := frames.keys[index].name) in ood:
                yield index, None, store.get(name)

    def count(entry: tuple[int, Read | None, Stored]) -> tuple[int, PackedCounts | DgssError]:
        index, read, stored = entry
        name = frames.keys[index].name
        try:
            unusual = ood.read(name) if ood and name in ood else None
            labels = read() if read else None
            counts = count_frame(stored.unpacked(), labels, classes, band, unusual)
            return index, PackedCounts.of(counts)
        except DgssError as error:
            return index, error

    results = in_threads(count, work())
    for index, result in show(results, f'Scoring {frames.title}', len(places)):
        if isinstance(result, DgssError):
            frames.problems.add(str(result), frames.keys[index].name)
        else:
            yield index, result


def count_frame(
    predicted: Predicted,
    labels: np.ndarray | None,
    classes: Classes,
    band: int = BAND,
    ood: np.ndarray | None = None,
) -> FrameCounts:
    """The counts of one frame at the size of its labels, both uint8 (H, W); one may be missing.

    Pixels outside the region that was segmented count as unlabelled. Raises DgssError for labels
    of another shape than the image.
    """
    if labels is None:
        assert ood is not None
        labels = np.full_like(ood, IGNORE)
    height, width = predicted.size
    if abs(labels.shape[1] / labels.shape[0] / (width / height) - 1) > SAME_SHAPE:
        raise DgssError(
            f'The labels are {labels.shape[1]}x{labels.shape[0]} and their image is '
            f'{width}x{height}; give labels of the whole image, turned as it is.'
        )
    labels = predicted.without_outside(labels)
    ood = None if ood is None else predicted.without_outside(ood)
    merged = replace(predicted, mask=cv2.LUT(predicted.mask, classes.masks))
    answer = merged.at_size(*labels.shape)
    return FrameCounts.of(
        answer.mask,
        cv2.LUT(labels, classes.labels),
        None if predicted.confidence is None else answer.confidence,
        classes=classes.label_set,
        ood=ood,
        band=band,
    )
