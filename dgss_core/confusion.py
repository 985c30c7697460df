"""Scores masks against labels."""

from __future__ import annotations

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE, LabelSet


class ConfusionMatrix:
    """Pixel counts per labelled and predicted class, summed over a set of images.

    The IoU is computed from the matrix of the set, not averaged over images. A pixel labelled 255
    is ignored; a labelled pixel predicted as 255 counts as an error.

    `counts`: int64 (N, N + 1); rows are labels, columns predictions, the last one 'no class'.
    """

    def __init__(self, classes: LabelSet | int) -> None:
        self.num_classes = classes if isinstance(classes, int) else len(classes)
        if not 0 < self.num_classes <= IGNORE:
            raise ValueError(f'num_classes must be 1 to {IGNORE}, not {self.num_classes}')
        self.counts = np.zeros((self.num_classes, self.num_classes + 1), np.int64)

    def add(self, mask: np.ndarray, labels: np.ndarray) -> None:
        """Count one image: predicted ids `mask` against `labels`, both uint8 (H, W).

        Raises DgssError if the shapes differ, or an id other than 255 is not a class.
        """
        if mask.shape != labels.shape:
            raise DgssError(
                f'The mask is {_size(mask)} and its labels are {_size(labels)}; '
                'score them at one size.'
            )
        pairs = np.left_shift(labels, 8, dtype=np.uint16) | mask
        table = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
        self._check_ids(table[:IGNORE].sum(1), 'labels')
        table = table[: self.num_classes]
        self._check_ids(table[:, :IGNORE].sum(0), 'mask')
        self.counts[:, :-1] += table[:, : self.num_classes]
        self.counts[:, -1] += table[:, IGNORE]

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """The matrix of both sets; ValueError if they differ in classes."""
        if other.num_classes != self.num_classes:
            raise ValueError(f'{other.num_classes} classes do not add to {self.num_classes}')
        total = ConfusionMatrix(self.num_classes)
        total.counts = self.counts + other.counts
        return total

    def iou(self) -> np.ndarray:
        """Intersection over union per class, float64 (N,) in 0 to 1.

        nan for a class that is neither labelled nor predicted on a labelled pixel.
        """
        return class_iou(self.counts)

    @property
    def miou(self) -> float:
        """Mean of `iou` over the classes that are not nan; nan if all are."""
        known = self.iou()[~np.isnan(self.iou())]
        return float(known.mean()) if known.size else float('nan')

    def _check_ids(self, found: np.ndarray, what: str) -> None:
        unknown = np.flatnonzero(found[self.num_classes : IGNORE]) + self.num_classes
        if unknown.size:
            raise DgssError(
                f'The {what} hold the id {unknown[0]}, but the label set has '
                f'{self.num_classes} classes (0 to {self.num_classes - 1}, and {IGNORE} for '
                'none); use labels of the same label set.'
            )


def class_iou(counts: np.ndarray) -> np.ndarray:
    """As `ConfusionMatrix.iou`, of counts (..., N, N + 1); returns float64 (..., N)."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(float)
    union = counts.sum(-1) + counts[..., :-1].sum(-2) - hits
    return np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def _size(array: np.ndarray) -> str:
    return 'x'.join(map(str, array.shape[::-1]))
