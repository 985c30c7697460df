"""Corruptions in training; those that evaluation scores are refused by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torchvision.transforms import v2
from torchvision.tv_tensors import Image

from dgss_core.corruptions import corrupt, training_corruptions
from dgss_core.errors import DgssError
from dgss_core.training.augmentation.pixels import to_image, to_pixels


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


class RandomCorruption(v2.Transform):
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

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        low, high = self.config.severities
        return {
            'apply': torch.rand(()).item() < self.config.probability,
            'name': self.config.names[int(torch.randint(len(self.config.names), ()))],
            'severity': int(torch.randint(low, high + 1, ())),
            'seed': int(torch.randint(2**62, ())),
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, Image) or not params['apply']:
            return inpt
        pixels = corrupt(to_pixels(inpt), params['name'], params['severity'], params['seed'])
        return to_image(pixels)
