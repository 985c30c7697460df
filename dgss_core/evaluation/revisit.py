"""Frames that are read again after an evaluation: to be shown, labelled or exported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.evaluation.folder import TO_LABEL, EvaluationFolder
from dgss_core.evaluation.frames import FrameSet, Sets
from dgss_core.evaluation.pictures import choose as choose_pictures
from dgss_core.evaluation.report import Picture
from dgss_core.evaluation.run import Evaluation
from dgss_core.evaluation.scoring import Classes, ScoredFrame
from dgss_core.evaluation.selection import choose, feature
from dgss_core.evaluation.store import Predicted, Stored
from dgss_core.evaluation.to_label import write_to_label
from dgss_core.images.paint import thumbnail
from dgss_core.labels import LabelSet
from dgss_core.paths import writing

WIDTH = 960
"""Largest width of a picture in a report, in pixels."""


@dataclass(frozen=True)
class Revisited:
    """A frame with everything that belongs to it.

    `image`: RGB uint8 (H, W, 3). `answer`: as it was predicted. `mask`, `labels`: uint8 at their
    own sizes, ids of the label set of the results, 255 is none; `labels` is None without labels.
    """

    frame: ScoredFrame
    image: np.ndarray
    answer: Predicted
    mask: np.ndarray
    labels: np.ndarray | None


def revisit(
    sets: Sets, labels: LabelSet, done: Evaluation, wanted: Iterable[ScoredFrame]
) -> Iterator[Revisited]:
    """Read some frames of `done` again, set by set, in the order of their places.

    `labels`: the label set of the predictions. Only the sets that hold a wanted frame are opened.
    An image that cannot be read any more is left out.
    """
    in_order = sorted(wanted, key=lambda frame: (frame.source, frame.place))
    for number, of_set in groupby(in_order, key=lambda frame: frame.source):
        frames = sets(number)
        classes = Classes.of(labels, frames.label_set, done.label_set)
        by_place = {frame.place: frame for frame in of_set}
        labelled = {place for place, frame in by_place.items() if has_labels(frame)}
        read = _Labels(frames, sorted(labelled))
        with done.store(number) as store:
            for place, image in frames.images([*by_place]):
                frame = by_place[place]
                answer = store.get(frame.key.name).unpacked()
                found = read.take(place) if place in labelled else None
                yield Revisited(
                    frame,
                    image,
                    answer,
                    classes.masks[answer.mask],
                    None if found is None else answer.without_outside(classes.labels[found]),
                )


def has_labels(frame: ScoredFrame) -> bool:
    """Whether a pixel is labelled; a frame may have OOD labels alone."""
    return frame.counts is not None and bool(frame.counts.unpacked().confusion.any())


class _Labels:
    """The labels at some places of a set of frames, in any order, none decoded before its turn."""

    def __init__(self, frames: FrameSet, places: Sequence[int]) -> None:
        self._readers = frames.labels(places)
        self._waiting: dict[int, Callable[[], np.ndarray]] = {}

    def take(self, place: int) -> np.ndarray | None:
        """The labels at a place, uint8 (H, W); None if they cannot be read any more."""
        while place not in self._waiting:
            index, read = next(self._readers, (-1, None))
            if read is None:
                return None
            self._waiting[index] = read
        try:
            return self._waiting.pop(place)()
        except DgssError:
            return None


def label_next(
    sets: Sets,
    labels: LabelSet,
    folder: EvaluationFolder,
    done: Evaluation,
    count: int,
) -> list[str]:
    """Write the `count` frames most worth labelling as a folder, after `run`; returns their names.

    Where some frames have no labels, they are chosen from these. `labels`: of the predictions.
    Raises DgssError for a predictor without confidences, and if they cannot be written.
    """
    features, certainty, frames = [], [], []
    all_labelled = all(map(has_labels, done.frames))
    for frame, stored in _stored(done):
        if stored.certainty is not None and (all_labelled or not has_labels(frame)):
            features.append(feature(stored))
            certainty.append(stored.certainty)
            frames.append(frame)
    if not frames:
        raise DgssError(
            'The masks of frames without labels have no confidences, by which frames to label are '
            'chosen.'
        )
    chosen = [frames[place] for place in choose(features, certainty, count)]

    def drafts() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for one in revisit(sets, labels, done, chosen):
            prefix = f'{one.frame.source}_' if len(done.parts) > 1 else ''
            draft = one.answer.at_size(*one.image.shape[:2]).mask
            yield f'{prefix}{one.frame.key.name}', one.image, draft

    with writing(folder.path / TO_LABEL):
        write_to_label(folder.path / TO_LABEL, drafts(), labels)
    return [frame.key.name for frame in chosen]


def report_pictures(sets: Sets, labels: LabelSet, done: Evaluation) -> list[Picture]:
    """The worst and some typical frames of every condition, with masks and labels.

    `labels`: of the predictions.
    """
    choices = choose_pictures(done.results['frames'])
    chosen = {_place(done.frames[choice.frame]): choice for choice in choices}
    pictures = {}
    for one in revisit(sets, labels, done, (done.frames[choice.frame] for choice in choices)):
        image = one.image if one.image.shape[1] <= WIDTH else thumbnail(one.image, WIDTH)
        choice = chosen[_place(one.frame)]
        pictures[choice.frame] = Picture(choice.frame, image, one.mask, one.labels, choice.note)
    return [pictures[choice.frame] for choice in choices if choice.frame in pictures]


def _place(frame: ScoredFrame) -> tuple[int, int]:
    return frame.source, frame.place


def _stored(done: Evaluation) -> Iterator[tuple[ScoredFrame, Stored]]:
    """Every frame as it is stored."""
    for number, of_set in groupby(done.frames, key=lambda frame: frame.source):
        with done.store(number) as store:
            for frame in of_set:
                yield frame, store.get(frame.key.name)
