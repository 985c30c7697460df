"""Sampling of training frames as a function of the seed and the number of the draw.

Samplers have no state, so a run resumed at draw n continues exactly as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from typing import Protocol

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.training.augmentation.statistics import ClassStatistics
from dgss_core.training.chance import seed_of


@dataclass(frozen=True)
class Draw:
    """A frame to read, the seed of its augmentation, and the class its crop should show."""

    index: int
    seed: int
    wanted: int | None = None


class Sampler(Protocol):
    """Draws frame indices, 0 to its length - 1."""

    def __len__(self) -> int:
        """Number of frames to draw from."""
        ...

    def draw(self, number: int) -> Draw:
        """Draw `number`, counted from 0 without end."""
        ...


class UniformSampler:
    """Every frame once per pass over the dataset, each pass in a new order."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed

    def __len__(self) -> int:
        return self.size

    def draw(self, number: int) -> Draw:
        turn, place = divmod(number, self.size)
        return Draw(int(_order(self.size, self.seed, turn)[place]), seed_of(self.seed, number))


class RareClassSampler:
    """Draws rare classes more often: first a class, then a frame with enough of its pixels.

    P(c) is proportional to exp((1 - f_c) / T), where f_c is the share of class c among all
    labelled pixels. The frame has at least `min_pixels` of the class; if no frame has so many, it
    has at least one. Hoyer et al., DAFormer, CVPR 2022, section 3.2, with its T = 0.01 and 3000
    pixels. Raises DgssError if no frame has labels.
    """

    def __init__(
        self,
        statistics: ClassStatistics,
        seed: int,
        temperature: float = 0.01,
        min_pixels: int = 3000,
    ) -> None:
        self.seed, self.size = seed, len(statistics.counts)
        counts = statistics.counts
        frames = [np.flatnonzero(counts[:, c] >= min_pixels) for c in range(counts.shape[1])]
        self.frames = [
            few if few.size else np.flatnonzero(counts[:, c]) for c, few in enumerate(frames)
        ]
        present = np.array([frames.size > 0 for frames in self.frames])
        if not present.any():
            raise DgssError('No frame has labels, so no class is rare; check the dataset.')
        if temperature <= 0:
            raise DgssError(f'A temperature of {temperature} draws nothing; give one above 0.')
        rarity = -statistics.frequencies / temperature
        # Shifted by the greatest value, which does not underflow.
        weights = np.exp(rarity - rarity[present].max(), where=present, out=np.zeros(len(present)))
        self.probabilities = weights / weights.sum()

    def __len__(self) -> int:
        return self.size

    def draw(self, number: int) -> Draw:
        random = np.random.default_rng([self.seed, number])
        wanted = int(random.choice(len(self.probabilities), p=self.probabilities))
        return Draw(int(random.choice(self.frames[wanted])), seed_of(self.seed, number), wanted)


class MixedSampler:
    """Several datasets: each draw picks a sampler with a probability proportional to its share.

    Frames are numbered consecutively, dataset after dataset, as in `AugmentedFrames`. Raises
    DgssError for shares that do not fit the samplers.
    """

    def __init__(self, samplers: Sequence[Sampler], shares: Sequence[float], seed: int) -> None:
        if len(samplers) != len(shares) or min(shares) < 0 or sum(shares) <= 0:
            raise DgssError(
                f'{len(samplers)} datasets need as many shares of 0 and above, not {shares}.'
            )
        self.samplers, self.seed = tuple(samplers), seed
        self.shares = np.array(shares) / sum(shares)
        self.starts = np.cumsum([0, *map(len, samplers)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def draw(self, number: int) -> Draw:
        # The extra 1 keeps this stream independent of the samplers'; SeedSequence ignores a
        # trailing 0.
        random = np.random.default_rng([self.seed, number, 1])
        which = int(random.choice(len(self.samplers), p=self.shares))
        draw = self.samplers[which].draw(number)
        return replace(draw, index=draw.index + int(self.starts[which]))


class Draws:
    """The endless draws of process `rank` of `world`: draw `start + rank`, then every `world`-th.

    An iterable for `torch.utils.data.DataLoader(sampler=...)`.
    """

    def __init__(self, sampler: Sampler, start: int = 0, rank: int = 0, world: int = 1) -> None:
        self.sampler, self.start, self.rank, self.world = sampler, start, rank, world

    def __iter__(self) -> Iterator[Draw]:
        return map(self.sampler.draw, count(self.start + self.rank, self.world))


@lru_cache(maxsize=4)
def _order(size: int, seed: int, turn: int) -> np.ndarray:
    return np.random.default_rng([seed, turn]).permutation(size)
