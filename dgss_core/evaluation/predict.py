"""Predict frames once, into a store, while others are read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any, TypeVar

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.evaluation.conditions import IGNORE
from dgss_core.evaluation.frames import FrameSet
from dgss_core.evaluation.predictors import Predictor
from dgss_core.evaluation.store import Predicted, PredictionStore
from dgss_core.runtime.pipeline import WriteBehind, in_threads, read_ahead

Item = TypeVar('Item')
Show = Callable[[Iterable[Item], str, int], Iterable[Item]]
"""Iterates items under a title, with their number, and shows how far it is."""


def quietly(items: Iterable[Item], title: str, count: int) -> Iterable[Item]:
    """A `Show` that shows nothing."""
    return items


def predict(
    frames: FrameSet, predictor: Predictor, store: PredictionStore, show: Show = quietly
) -> None:
    """Predict the frames that the store does not hold. What was done before an error is kept.

    A frame that cannot be read or that has no mask becomes a problem of `frames`.
    """
    # It tells the problems of masks, which a run has on every frame that was predicted before too.
    predictor.begin(frames)
    done = store.names()
    wanted = [
        index
        for index, key in enumerate(frames.keys)
        if key.name not in done and key.condition != IGNORE
    ]
    if not wanted:
        return

    def prepare(entry: tuple[int, np.ndarray]) -> object:
        return predictor.prepare(entry[1])

    def answer(
        entry: tuple[tuple[int, np.ndarray], Any],
    ) -> tuple[str, np.ndarray, Predicted | DgssError | None]:
        (index, image), prepared = entry
        key = frames.keys[index]
        try:
            return key.name, image, predictor.predict(key, prepared)
        except DgssError as error:
            return key.name, image, error

    with (
        WriteBehind() as writer,
        closing(read_ahead(frames.images(wanted), prepare)) as ahead,
        closing(in_threads(answer, ahead, predictor.lanes)) as answers,
    ):
        for name, image, found in show(answers, f'Predicting {frames.title}', len(wanted)):
            if found is None:
                frames.problems.add('A frame has no mask and is not scored.', name)
            elif isinstance(found, DgssError):
                frames.problems.add(str(found), name)
            else:
                writer.put(store.put, name, image, found)
