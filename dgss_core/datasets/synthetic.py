"""The synthetic street drive as a dataset: exact labels in every condition, no download."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dgss_core import __version__
from dgss_core.datasets.sample import Sample
from dgss_core.errors import unknown
from dgss_core.labels import LabelSet
from dgss_core.synthetic import CONDITIONS, StreetDrive
from dgss_core.synthetic.drive import SyntheticFrame

SYNTHETIC = 'synthetic'
SPLITS = {'train': range(1000, 1048), 'val': range(900, 906), 'test': range(10)}
"""Seeds of the drives of each split."""


class Synthetic:
    """`frames` frames, `step` apart, of one drive per seed, with alternating conditions.

    `width`, `height` in pixels. Frames are rendered on access, in about 0.1 s each.
    """

    label_set = LabelSet.load('cityscapes19')

    def __init__(
        self,
        seeds: Sequence[int],
        frames: int,
        conditions: Sequence[str] = CONDITIONS,
        step: int = 10,
        *,
        width: int = 640,
        height: int = 360,
    ) -> None:
        self.seeds, self.frames, self.step = tuple(seeds), frames, step
        self.conditions, self.size = tuple(conditions), (width, height)
        self.title = f'synthetic drive, {len(self.seeds)} seeds, {len(self)} frames'

    @classmethod
    def of_split(cls, split: str | None = None, **options: Any) -> Synthetic:
        """The drives of `split` (None: train), 12 frames each by default.

        Raises DgssError for an unknown split.
        """
        if split is not None and split not in SPLITS:
            raise unknown('split', split, SPLITS, owner='The synthetic drive')
        defaults: dict[str, Any] = {'seeds': SPLITS[split or 'train'], 'frames': 12}
        return cls(**defaults | options)

    def __len__(self) -> int:
        return len(self.seeds) * self.frames

    def __getitem__(self, index: int) -> Sample:
        name, condition, picture = self._render(index)
        return Sample(name, picture.image, picture.labels, condition)

    def labels(self, index: int) -> np.ndarray:
        """Uint8 (H, W)."""
        return self._render(index)[2].labels

    @property
    def fingerprint(self) -> str:
        """Hash of the options and of the version of the package, which renders the frames."""
        options = (__version__, self.seeds, self.frames, self.step, self.conditions, self.size)
        return hashlib.sha256(repr(options).encode()).hexdigest()

    @property
    def names(self) -> list[str]:
        """The names of the frames, CONDITION_SEED_FRAME, in order; nothing is rendered."""
        return ['{}_{}_{}'.format(*self._place(index)) for index in range(len(self))]

    def _place(self, index: int) -> tuple[str, int, int]:
        """Condition, seed, and number of the frame in its drive."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        seed, frame = self.seeds[index // self.frames], index % self.frames
        # The shift by the index of the seed gives each seed another first condition.
        condition = self.conditions[(index // self.frames + frame) % len(self.conditions)]
        return condition, seed, frame * self.step

    def _render(self, index: int) -> tuple[str, str, SyntheticFrame]:
        condition, seed, frame = self._place(index)
        width, height = self.size
        drive = _drive(seed, condition, width=width, height=height)
        return f'{condition}_{seed}_{frame}', condition, drive.frame(frame)


@lru_cache(maxsize=16)
def _drive(seed: int, condition: str, *, width: int, height: int) -> StreetDrive:
    return StreetDrive(seed, condition, width=width, height=height)
