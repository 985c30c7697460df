"""What every score of a mask is computed from: pixel counts, which add over frames exactly."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np

from dgss_core.confusion import ConfusionMatrix, pair_counts
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
        rim.add(mask, labels, near)
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


@dataclass(frozen=True)
class PackedCounts:
    """`FrameCounts` without their zeros: some 4 KB instead of 14 for 19 classes.

    `places`: of the `values` in all arrays, one after another in the order of `SUMMED`.
    """

    band: int
    classes: int
    places: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, counts: FrameCounts) -> PackedCounts:
        flat = np.concatenate([np.ravel(getattr(counts, name)) for name in SUMMED])
        places = np.flatnonzero(flat)
        return cls(counts.band, len(counts.confusion), places.astype(np.uint32), flat[places])

    def unpacked(self) -> FrameCounts:
        shapes = _shapes(self.classes)
        sizes = [math.prod(shape) for shape in shapes.values()]
        flat = np.zeros(sum(sizes), np.int64)
        flat[self.places] = self.values
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        named = zip(shapes.items(), parts, strict=True)
        return FrameCounts(
            band=self.band, **{name: part.reshape(shape) for (name, shape), part in named}
        )


class Unpacked(Sequence[FrameCounts]):
    """Counts that are unpacked one by one, when they are asked for."""

    def __init__(self, packed: Sequence[PackedCounts]) -> None:
        self._packed = packed

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, index: Any) -> Any:
        found = self._packed[index]
        return found.unpacked() if isinstance(found, PackedCounts) else Unpacked(found)


UNREADABLE = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What a damaged or foreign file of counts raises, in numpy and in `from_arrays`."""


def to_arrays(counts: Sequence[FrameCounts]) -> Iterator[tuple[str, np.ndarray]]:
    """Counts as arrays for a file, by the names of the fields, the first axis over `counts`.

    All of them have the same band and classes; there is at least one. Each array is made when it
    is asked for: together they would take much memory.
    """
    yield 'band', np.array(counts[0].band)
    for name, shape in _shapes(len(counts[0].confusion)).items():
        array = np.empty((len(counts), *shape), np.int64)
        for index, one in enumerate(counts):
            array[index] = getattr(one, name)
        yield name, array


def pack_arrays(arrays: Iterable[tuple[str, np.ndarray]]) -> bytes:
    """Arrays as a compressed .npz file; one of them is in memory at a time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays:
            with archive.open(f'{name}.npy', 'w', force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()


def from_arrays(arrays: Mapping[str, np.ndarray]) -> list[FrameCounts]:
    """The counts that `to_arrays` took. Raises KeyError, TypeError or ValueError for others."""
    found = {name: arrays[name] for name in SUMMED}
    count, classes = found['confusion'].shape[:2]
    for name, shape in _shapes(classes).items():
        array, expected = found[name], (count, *shape)
        if array.shape != expected or array.dtype != np.int64:
            raise ValueError(f'{name} is {array.dtype} {array.shape}, not int64 {expected}')
        if array.min(initial=0) < 0:
            raise ValueError(f'{name} has negative counts')
    band = int(arrays['band'])
    return [
        FrameCounts(band=band, **{name: array[index] for name, array in found.items()})
        for index in range(count)
    ]


def _shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the fields of one frame, in the order of `SUMMED`."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(SUMMED, (LEVELS,))
    shapes |= dict.fromkeys(('frames', 'pixels'), ())
    return shapes | dict.fromkeys(('confusion', 'boundary'), (classes, classes + 1))


def near_boundary(labels: np.ndarray, band: int) -> np.ndarray:
    """Whether another label lies within `band` pixels in x and in y, bool (H, W).

    `labels`: uint8 (H, W). A border to unlabelled pixels (255) is none: where the class ends there
    is not known.
    """
    window = np.ones((2 * band + 1, 2 * band + 1), np.uint8)
    # Outside the image OpenCV takes the neutral value: 0 for the maximum, 255 for the minimum.
    # Unlabelled pixels get the same two.
    is_labelled = labels != IGNORE
    highest = cv2.dilate(labels * is_labelled, window)
    return np.asarray((highest != cv2.erode(labels, window)) & is_labelled)


def _by_confidence(
    confidence: np.ndarray, second: np.ndarray, ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Histograms, int64 (256,) each, of the pixels of the first and of the second kind."""
    kind = second.view(np.uint8) + 2 * ignored.view(np.uint8)
    table = pair_counts(kind, confidence)
    return table[0], table[1]


def _check_ood(ood: np.ndarray) -> None:
    other = ood[(ood > 1) & (ood != IGNORE)]
    if other.size:
        raise DgssError(
            f'OOD labels hold the value {other[0]}; use 1 for pixels outside the distribution, '
            f'0 for those inside, and {IGNORE} for neither.'
        )
