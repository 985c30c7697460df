"""Scores masks against labels."""

from __future__ import annotations

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE, LabelSet

EXACT = 1 << 24
"""Up to here every whole number is a float32."""


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

    def add(self, mask: np.ndarray, labels: np.ndarray, where: np.ndarray | None = None) -> None:
        """Count one image: predicted ids `mask` against `labels`, both uint8 (H, W).

        `where`: bool (H, W), the pixels that count; None for all. Raises DgssError if the shapes
        differ, or an id other than 255 is not a class.
        """
        if mask.shape != labels.shape:
            raise DgssError(
                f'The mask is {_size(mask)} and its labels are {_size(labels)}; '
                'score them at one size.'
            )
        table = pair_counts(labels, mask, where)
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


def pair_counts(
    first: np.ndarray, second: np.ndarray, where: np.ndarray | None = None
) -> np.ndarray:
    """How often each pair of values comes at one place, int64 (256, 256), of two uint8 (H, W).

    `where`: bool (H, W), the places that count; None for all.
    """
    counts = np.zeros((256, 256), np.int64)
    if first.size == 0:
        return counts
    # OpenCV takes half the time of numpy. Its sums are float32, exact up to 2^24.
    first, second = (np.atleast_2d(plane) for plane in (first, second))
    rows = max(1, EXACT // first.shape[1])
    for top in range(0, first.shape[0], rows):
        part = slice(top, top + rows)
        chosen = None if where is None else where[part].view(np.uint8)
        planes = [first[part], second[part]]
        counts += cv2.calcHist(planes, [0, 1], chosen, [256, 256], [0, 256, 0, 256]).astype(int)
    return counts


def class_iou(counts: np.ndarray) -> np.ndarray:
    """As `ConfusionMatrix.iou`, of counts (..., N, N + 1); returns float64 (..., N)."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(float)
    union = counts.sum(-1) + counts[..., :-1].sum(-2) - hits
    return np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def _size(array: np.ndarray) -> str:
    return 'x'.join(map(str, array.shape[::-1]))
