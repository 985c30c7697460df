"""Score a segmenter on a dataset, in the label set of the dataset."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from dgss_core.bars import tracked
from dgss_core.confusion import ConfusionMatrix
from dgss_core.datasets import Dataset
from dgss_core.labels import LabelSet
from dgss_core.runtime.prediction import Prediction


class SegmentsImages(Protocol):
    """A `Segmenter`, or a replacement such as `ModelSegmenter`."""

    @property
    def labels(self) -> LabelSet: ...

    def __call__(self, image: np.ndarray) -> Prediction: ...


def evaluate(
    segmenter: SegmentsImages, dataset: Dataset, title: str = 'Scoring'
) -> ConfusionMatrix:
    """Segment every frame of `dataset` at its own size; return one confusion matrix for all.

    Masks are first merged into the dataset's label set. Raises DgssError if the label sets differ
    and no merge between them is defined. `title`: of the progress bar.
    """
    merge = segmenter.labels.merge_to(dataset.label_set)
    matrix = ConfusionMatrix(dataset.label_set)
    for index in tracked(range(len(dataset)), title):
        sample = dataset[index]
        matrix.add(merge[segmenter(sample.image).mask], sample.labels)
    return matrix
