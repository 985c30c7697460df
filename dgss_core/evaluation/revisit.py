"""Frames that are read again after an evaluation: for the report, and to be labelled."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.evaluation.folder import TO_LABEL, EvaluationFolder
from dgss_core.evaluation.frames import FrameSet
from dgss_core.evaluation.pictures import choose as choose_pictures
from dgss_core.evaluation.predictors import Predictor
from dgss_core.evaluation.report import Picture
from dgss_core.evaluation.run import Evaluation, place_of
from dgss_core.evaluation.scoring import Classes
from dgss_core.evaluation.selection import choose, feature
from dgss_core.evaluation.store import Predicted, PredictionStore
from dgss_core.evaluation.to_label import write_to_label
from dgss_core.images.paint import thumbnail

WIDTH = 960
"""Largest width of a picture in a report, in pixels."""
Place = tuple[int, int]
"""The number of a set of frames, and the place of a frame in it."""


def label_next(
    sets: Sequence[FrameSet], predictor: Predictor, folder: EvaluationFolder, count: int
) -> list[str]:
    """Write the `count` frames most worth labelling as a folder, after `run`; returns their names.

    Raises DgssError for a predictor without confidences.
    """
    features, certainty, places = [], [], []
    for number, frames in enumerate(sets):
        with PredictionStore(*place_of(frames, predictor, folder)) as store:
            names = store.names()
            for index, key in enumerate(frames.keys):
                if key.name in names and (stored := store.get(key.name)).certainty is not None:
                    features.append(feature(stored))
                    certainty.append(stored.certainty)
                    places.append((number, index))
    if not places:
        raise DgssError('The masks have no confidences, by which frames to label are chosen.')
    chosen = [places[place] for place in choose(features, certainty, count)]

    def drafts() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for (number, index), image, answer in _read(sets, predictor, folder, chosen):
            prefix = f'{number}_' if len(sets) > 1 else ''
            name = f'{prefix}{sets[number].keys[index].name}'
            yield name, image, answer.at_size(*image.shape[:2]).mask

    write_to_label(folder.path / TO_LABEL, drafts(), predictor.labels)
    return [sets[number].keys[index].name for number, index in chosen]


def report_pictures(
    sets: Sequence[FrameSet], predictor: Predictor, folder: EvaluationFolder, done: Evaluation
) -> list[Picture]:
    """The worst and some typical frames of every condition, with masks and labels."""
    chosen = {}
    for choice in choose_pictures(done.results['frames']):
        frame = done.frames[choice.frame]
        chosen[frame.source, frame.place] = choice
    classes = [Classes.of(predictor.labels, one.label_set, done.label_set) for one in sets]
    labels = dict(_labels(sets, chosen))
    pictures = {}
    for place, image, answer in _read(sets, predictor, folder, chosen):
        number, found = place[0], labels.get(place)
        pictures[place] = Picture(
            chosen[place].frame,
            image if image.shape[1] <= WIDTH else thumbnail(image, WIDTH),
            classes[number].masks[answer.mask],
            None if found is None else classes[number].labels[found],
            chosen[place].note,
        )
    return [pictures[place] for place in chosen if place in pictures]


def _read(
    sets: Sequence[FrameSet],
    predictor: Predictor,
    folder: EvaluationFolder,
    places: Collection[Place],
) -> Iterator[tuple[Place, np.ndarray, Predicted]]:
    """The images and answers of some frames, set by set, in the order of their frames."""
    for number, frames in enumerate(sets):
        wanted = sorted(index for other, index in places if other == number)
        if not wanted:
            continue
        with PredictionStore(*place_of(frames, predictor, folder)) as store:
            for index, image in frames.images(wanted):
                yield (number, index), image, store.get(frames.keys[index].name).unpacked()


def _labels(
    sets: Sequence[FrameSet], places: Collection[Place]
) -> Iterator[tuple[Place, np.ndarray]]:
    for number, frames in enumerate(sets):
        for index, read in frames.labels(sorted(i for n, i in places if n == number)):
            try:
                yield (number, index), read()
            except DgssError:  # It is among the problems already.
                continue
