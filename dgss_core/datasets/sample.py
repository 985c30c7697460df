"""What every dataset gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet


@dataclass(frozen=True)
class Sample:
    """`image`: RGB uint8 (H, W, 3). `labels`: uint8 (H, W), ids of the dataset's label set,
    255 where there is none. `condition`: one of `dgss_core.synthetic.CONDITIONS`."""

    name: str
    image: np.ndarray
    labels: np.ndarray
    condition: str


class Dataset(Protocol):
    """Labelled frames in a fixed order; every access reads the frame anew."""

    label_set: LabelSet

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def read_pair(image: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read an RGB image and its label PNG; DgssError for a missing, broken or unequal pair."""
    rgb = _read(image, cv2.IMREAD_COLOR)[..., ::-1]
    ids = _read(labels, cv2.IMREAD_UNCHANGED)
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise DgssError(f'{labels} must be a one-channel 8-bit PNG of ids, not {ids.shape}.')
    if ids.shape != rgb.shape[:2]:
        raise DgssError(
            f'{labels} is {ids.shape[1]}x{ids.shape[0]} and its image is '
            f'{rgb.shape[1]}x{rgb.shape[0]}; the two must be of one size.'
        )
    return np.ascontiguousarray(rgb), ids


def _read(path: Path, flags: int) -> np.ndarray:
    array = cv2.imread(str(path), flags) if path.is_file() else None
    if array is None:
        raise DgssError(f'{path} is missing or not a readable image; copy the dataset again.')
    return array
