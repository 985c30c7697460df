"""What every dataset gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dgss_core.labels import LabelSet


@dataclass(frozen=True)
class Sample:
    """`image`: RGB uint8 (H, W, 3). `labels`: uint8 (H, W), ids of the dataset's label set,
    255 where there is none. `condition`: one of `dgss_core.synthetic.CONDITIONS`."""

    name: str
    image: np.ndarray
    labels: np.ndarray
    condition: str
    labelled: bool = True
    """False if nobody labelled the frame; its labels are all 255 then."""


class Dataset(Protocol):
    """Labelled frames in a fixed order; every access reads the frame anew.

    `title` says what is read, to be printed with every score: dataset, split, condition, and the
    label map where several are in use. `fingerprint` changes when the content does.
    """

    label_set: LabelSet
    title: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def labels(self, index: int) -> np.ndarray:
        """The labels alone, uint8 (H, W)."""
        ...

    @property
    def fingerprint(self) -> str: ...
