"""The interface of every dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dgss_core.labels import LabelSet


@dataclass(frozen=True)
class Sample:
    """One labelled frame.

    `image`: RGB uint8 (H, W, 3). `labels`: uint8 (H, W), ids of the label set of the dataset, 255
    unlabelled. `condition`: one of `dgss_core.synthetic.CONDITIONS`.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    condition: str
    labelled: bool = True
    """False if nobody labelled the frame; its labels are all 255 then."""


class Dataset(Protocol):
    """Labelled frames in a fixed order; every access reads the frame again.

    `title`: dataset, split, condition, and the label map if there are several; print it with
    every score. `fingerprint` changes with the content.
    """

    label_set: LabelSet
    title: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def labels(self, index: int) -> np.ndarray:
        """Only the labels of a frame, uint8 (H, W)."""
        ...

    @property
    def fingerprint(self) -> str: ...
