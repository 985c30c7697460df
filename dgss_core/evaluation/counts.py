"""What every score of a mask is computed from: pixel counts, which add over frames exactly."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np

from dgss_core.confusion import ConfusionMatrix
from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE, LabelSet

BAND = 5
"""Pixels. The default of FiftyOne's evaluation of boundaries."""
LEVELS = 256
"""Values of a confidence; the value k stands for k / 255."""


@dataclass(frozen=True)
class FrameCounts:
    """Pixel counts of one frame, or their sum over several. All arrays are int64.

    Every array may have further axes in front, one entry for each set of frames: the formulas of
    `measures` then give one score for each set.

    `frames`: how many. `pixels`: of these frames, labelled or not. `band`: the width of `boundary`
    in pixels.
    `confusion`: (N, N + 1), as in `ConfusionMatrix`; a mask's 255 on a labelled pixel is the last
    column. `boundary`: the same, of the labelled pixels from which another label is at most
    `band` pixels away, in x and in y.
    `right`, `wrong`: (256,), the labelled pixels whose class is right or wrong, by confidence.
    `known`, `unknown`: (256,), the pixels inside and outside the distribution, by confidence. An
    unknown pixel has no right class and counts in none of the other arrays.
    """

    frames: int | np.ndarray
    pixels: int | np.ndarray
    band: int
    confusion: np.ndarray
    boundary: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    known: np.ndarray
    unknown: np.ndarray

    @classmethod
    def of(
        cls,
        mask: np.ndarray,
        labels: np.ndarray,
        confidence: np.ndarray | None = None,
        *,
        classes: LabelSet | int,
        ood: np.ndarray | None = None,
        band: int = BAND,
    ) -> FrameCounts:
        """Count one frame. All arrays are uint8 (H, W).

        `mask`, `labels`: ids of `classes`, a label set or its length; 255 is none. `confidence`:
        255 is certain. `ood`: 1 outside the distribution, 0 inside, 255 unlabelled, as in
        SegmentMeIfYouCan (Chan et al., NeurIPS 2021). Raises DgssError if the shapes differ or
        an id is unknown, and ValueError for a band below 1.
        """
        if band < 1:
            raise ValueError(f'a band has at least 1 pixel, not {band}')
        known = unknown = right = wrong = np.zeros(LEVELS, np.int64)
        for name, given in (('confidence', confidence), ('OOD labels', ood)):
            if given is not None and given.shape != labels.shape:
                raise DgssError(
                    f'The {name} of a frame are {given.shape} and its labels {labels.shape} '
                    '(height, width); give both at one size.'
                )
        near = near_boundary(labels, band)
        if ood is not None:
            _check_ood(ood)
            labels = np.where(ood == 1, np.uint8(IGNORE), labels)
        matrix, rim = ConfusionMatrix(classes), ConfusionMatrix(classes)
        matrix.add(mask, labels)
        rim.add(mask[near], labels[near])
        if confidence is not None:
            right, wrong = _by_confidence(confidence, labels != mask, labels == IGNORE)
        if confidence is not None and ood is not None:
            known, unknown = _by_confidence(confidence, ood == 1, ood == IGNORE)
        return cls(1, labels.size, band, matrix.counts, rim.counts, right, wrong, known, unknown)

    def __add__(self, other: FrameCounts) -> FrameCounts:
        """The counts of both sets; ValueError if they differ in classes or in the band."""
        if (self.band, self.confusion.shape) != (other.band, other.confusion.shape):
            raise ValueError(
                f'counts of {self.confusion.shape[-2]} classes and a band of {self.band} do not '
                f'add to counts of {other.confusion.shape[-2]} classes and a band of {other.band}'
            )
        sums = {name: getattr(self, name) + getattr(other, name) for name in SUMMED}
        return FrameCounts(band=self.band, **sums)


SUMMED = tuple(field.name for field in fields(FrameCounts) if field.name != 'band')
"""The fields that add."""


UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile)
"""What a damaged or foreign file of counts raises, in numpy and in `from_arrays`."""


def to_arrays(counts: Sequence[FrameCounts]) -> dict[str, Any]:
    """Counts as arrays for a file, by the names of the fields, the first axis over `counts`.

    All of them have the same band and classes; there is at least one.
    """
    arrays = {name: np.array([getattr(one, name) for one in counts]) for name in SUMMED}
    return {**arrays, 'band': np.array(counts[0].band)}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> list[FrameCounts]:
    """The counts that `to_arrays` took. Raises KeyError, TypeError or ValueError for others."""
    found = {name: arrays[name] for name in SUMMED}
    count, classes = found['confusion'].shape[:2]
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(SUMMED, (count, LEVELS))
    shapes |= dict.fromkeys(('frames', 'pixels'), (count,))
    shapes |= dict.fromkeys(('confusion', 'boundary'), (count, classes, classes + 1))
    for name, array in found.items():
        if array.shape != shapes[name] or array.dtype != np.int64:
            raise ValueError(f'{name} is {array.dtype} {array.shape}, not int64 {shapes[name]}')
        if array.min(initial=0) < 0:
            raise ValueError(f'{name} has negative counts')
    band = int(arrays['band'])
    return [
        FrameCounts(band=band, **{name: array[index] for name, array in found.items()})
        for index in range(count)
    ]


def near_boundary(labels: np.ndarray, band: int) -> np.ndarray:
    """Whether another label lies within `band` pixels in x and in y, bool (H, W).

    `labels`: uint8 (H, W). A border to unlabelled pixels (255) is none: where the class ends there
    is not known.
    """
    window = np.ones((2 * band + 1, 2 * band + 1), np.uint8)
    # Outside the image OpenCV takes the neutral value: 0 for the maximum, 255 for the minimum.
    # Unlabelled pixels get the same two.
    highest = cv2.dilate(np.where(labels == IGNORE, np.uint8(0), labels), window)
    return np.asarray((highest != cv2.erode(labels, window)) & (labels != IGNORE))


def _by_confidence(
    confidence: np.ndarray, second: np.ndarray, ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Histograms, int64 (256,) each, of the pixels of the first and of the second kind."""
    kind = second.view(np.uint8) + 2 * ignored.view(np.uint8)
    cells = np.left_shift(kind, 8, dtype=np.uint16) | confidence
    table = np.bincount(cells.ravel(), minlength=4 * LEVELS).reshape(4, LEVELS)
    return table[0], table[1]


def _check_ood(ood: np.ndarray) -> None:
    other = ood[(ood > 1) & (ood != IGNORE)]
    if other.size:
        raise DgssError(
            f'OOD labels hold the value {other[0]}; use 1 for pixels outside the distribution, '
            f'0 for those inside, and {IGNORE} for neither.'
        )
