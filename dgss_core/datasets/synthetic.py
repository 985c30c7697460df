"""The procedural street drive as a dataset: exact labels in every condition, no download."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from dgss_core.datasets.sample import Sample
from dgss_core.labels import LabelSet
from dgss_core.synthetic import CONDITIONS, StreetDrive


class Synthetic:
    """`frames` frames, `step` apart, of one drive per seed; the conditions take turns.

    Sizes in pixels. Frames are rendered when asked for, about a tenth of a second each.
    """

    label_set = LabelSet.load('cityscapes19')

    def __init__(
        self,
        seeds: Sequence[int],
        frames: int,
        conditions: Sequence[str] = CONDITIONS,
        step: int = 10,
        width: int = 640,
        height: int = 360,
    ) -> None:
        self.seeds, self.frames, self.step = tuple(seeds), frames, step
        self.conditions, self.size = tuple(conditions), (width, height)

    def __len__(self) -> int:
        return len(self.seeds) * self.frames

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        seed, frame = self.seeds[index // self.frames], index % self.frames
        # Shifting by the seed's place gives each seed another first condition.
        condition = self.conditions[(index // self.frames + frame) % len(self.conditions)]
        picture = _drive(seed, condition, *self.size).frame(frame * self.step)
        return Sample(
            f'{condition}_{seed}_{frame * self.step}', picture.image, picture.labels, condition
        )


@lru_cache(maxsize=16)
def _drive(seed: int, condition: str, width: int, height: int) -> StreetDrive:
    return StreetDrive(seed, condition, width, height)
