"""The synthetic street drive as a dataset: exact labels in every condition, no download."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dgss_core import __version__
from dgss_core.datasets.rendered import Frame, limit_of_folder, shared_frames
from dgss_core.datasets.sample import Sample
from dgss_core.errors import unknown
from dgss_core.files.home import cache_folder
from dgss_core.labels import LabelSet
from dgss_core.synthetic import CONDITIONS, StreetDrive

SYNTHETIC = 'synthetic'
SPLITS = {'train': range(1000, 1048), 'val': range(900, 906), 'test': range(10)}
"""Seeds of the drives of each split."""
SET_FRAMES, SET_BYTES = 12, 64 * 2**20
"""Most frames of a drive that are rendered and kept together, and most bytes of them."""


class Synthetic:
    """`frames` frames, `step` apart, of one drive per seed, with alternating conditions.

    `width`, `height` in pixels. Frames are rendered when they are first read, a drive at once, and
    kept in the cache folder (`datasets.rendered`), where all sets together take the GiB of the
    environment variable DGSS_SYNTHETIC_CACHE_GIB at most, by default 2. A dataset that is larger
    is not kept, and with 0 none is; frames in any order then cost far more than frames in order,
    because each needs its street. Raises DgssError if the variable is no number of at least 0.
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
        self.seeds, self.frames, self.step = tuple(map(int, seeds)), frames, step
        self.conditions, self.size = tuple(conditions), (width, height)
        self._frame_bytes = 4 * width * height
        whole = len(self) * self._frame_bytes
        limit = limit_of_folder()
        fits = 0 < whole <= limit
        self.rendered = shared_frames(limit, cache_folder('synthetic')) if fits else None
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
        condition, seed, number = self._place(index)
        image, labels = self._frame(index)
        return Sample(f'{condition}_{seed}_{number}', image, labels, condition)

    def labels(self, index: int) -> np.ndarray:
        """Uint8 (H, W)."""
        if self.rendered is not None:
            kept = self.rendered.labels(*self._set(index))
            if kept is not None:
                return kept
        return self._render(index)[1]

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

    def _frame(self, index: int) -> Frame:
        if self.rendered is not None:
            kept = self.rendered.frame(*self._set(index))
            if kept is not None:
                return kept
        return self._render(index)

    def _set(self, index: int) -> tuple[object, int, tuple[int, int], Callable[[], list[Frame]]]:
        """The set of a frame as `RenderedFrames` takes it."""
        indices = self._set_of(index)
        about = self.size, [self._place(each) for each in indices]
        return about, index - indices[0], self.size, lambda: self._render_all(indices)

    def _set_of(self, index: int) -> range:
        """The frames that are rendered together with one: of its drive, so of one street."""
        drive, frame = divmod(index, self.frames)
        step = min(SET_FRAMES, max(1, SET_BYTES // self._frame_bytes))
        first = frame // step * step
        start = drive * self.frames
        return range(start + first, start + min(first + step, self.frames))

    def _render_all(self, indices: range) -> list[Frame]:
        # Held here, so that their street stays while other threads ask for other drives.
        drives = [self._drive(index) for index in indices]
        return [self._render(i, drive) for i, drive in zip(indices, drives, strict=True)]

    def _render(self, index: int, drive: StreetDrive | None = None) -> Frame:
        picture = (drive or self._drive(index)).frame(self._place(index)[2])
        return picture.image, picture.labels

    def _drive(self, index: int) -> StreetDrive:
        condition, seed, _ = self._place(index)
        width, height = self.size
        return drive_of(seed, condition, width=width, height=height)


@lru_cache(maxsize=len(CONDITIONS))
def drive_of(seed: int, condition: str, *, width: int, height: int) -> StreetDrive:
    """A drive; those of one street are kept, or as many of others that were asked for last."""
    return StreetDrive(seed, condition, width=width, height=height)
