"""Corruptions in training; those that evaluation scores are refused by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dgss_core.corruptions import constants_of, corrupt, random_of, training_corruptions
from dgss_core.errors import DgssError
from dgss_core.training.augmentation.blur import mirrors
from dgss_core.training.augmentation.changes import (
    Change,
    Look,
    RandomChange,
    changed_rows,
    draw_seed,
)
from dgss_core.training.augmentation.corruption_batches import BATCHED, MIRRORED, Chance


@dataclass
class CorruptionConfig:
    """Which corruptions are trained on.

    Attributes:
        names: corruptions to draw from, at most one per image
        probability: probability that an image is corrupted
        severities: lowest and highest severity, 1 to 5
        allow_evaluated: allow corruptions that evaluation scores; their scores then no longer
            measure robustness to unseen corruptions
    """

    names: tuple[str, ...]
    probability: float = 0.3
    severities: tuple[int, int] = (1, 3)
    allow_evaluated: bool = False


@dataclass(frozen=True)
class Corrupted(Change):
    """A corruption of `dgss_core.corruptions`."""

    name: str
    severity: int
    seed: int

    def batched(self, *, height: int, width: int) -> bool:
        if self.name not in BATCHED:
            return False
        measure = MIRRORED.get(self.name)
        reach = measure(*constants_of(self.name, self.severity)) if measure else 0
        return mirrors(reach, height=height, width=width)

    def on_image(self, pixels: np.ndarray) -> np.ndarray:
        return corrupt(pixels, self.name, self.severity, self.seed)

    @staticmethod
    def on_batch(images: Tensor, changes: Sequence[Corrupted]) -> Tensor:
        groups: dict[tuple[str, int], list[int]] = {}
        for row, change in enumerate(changes):
            groups.setdefault((change.name, change.severity), []).append(row)
        for (name, severity), rows in groups.items():
            seeds = [changes[row].seed for row in rows]
            images = changed_rows(
                images, rows, partial(corrupt_batch, name=name, severity=severity, seeds=seeds)
            )
        return images


def corrupt_batch(images: Tensor, name: str, severity: int, seeds: Sequence[int]) -> Tensor:
    """Images uint8 (B, 3, H, W), each corrupted with its seed; `name` is in `BATCHED`."""
    chances = [Chance(seed, random_of(name, severity, seed)) for seed in seeds]
    result = BATCHED[name](images / 255, chances, *constants_of(name, severity))
    return (result.clamp(0, 1) * 255).round_().to(torch.uint8)


class RandomCorruption(RandomChange):
    """Corrupts some of the images; labels do not change.

    Raises DgssError for a corruption that is not allowed in training, and for numbers out of
    range.
    """

    def __init__(self, config: CorruptionConfig) -> None:
        super().__init__()
        low, high = config.severities
        if not config.names or not 0 <= config.probability <= 1 or not 1 <= low <= high <= 5:
            raise DgssError(
                'Corruptions in training need names, a probability of 0 to 1 and severities '
                f'within 1 to 5, not {config.names}, {config.probability}, {config.severities}.'
            )
        training_corruptions(config.names, config.allow_evaluated)
        self.config = config

    def draw(self) -> Look:
        low, high = self.config.severities
        applied = torch.rand(()).item() < self.config.probability
        name = self.config.names[int(torch.randint(len(self.config.names), ()))]
        severity = int(torch.randint(low, high + 1, ()))
        change = Corrupted(name, severity, draw_seed())
        return (change if applied else None,)
