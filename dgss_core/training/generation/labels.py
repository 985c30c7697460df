"""Labels of unlabelled pictures: a teacher's masks, refined (CLOUDS, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE
from dgss_core.networks.device import best_device
from dgss_core.networks.losses.matching import Target
from dgss_core.training.chance import seed_of
from dgss_core.training.generation.sam import Sam
from dgss_core.training.pseudo_labels import refine


@dataclass
class RefinementConfig:
    """How a teacher's masks are refined. The defaults are the published ones.

    Attributes:
        sam: mask generation model of transformers, a folder or a name on the hub
        min_area: only connected parts with more pixels than this are refined
        points: random pixels of a part that prompt the model
    """

    sam: str
    min_area: int = 5000
    points: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.points <= self.min_area + 1:
            raise DgssError(
                f'A part of more than {self.min_area} pixels cannot give {self.points} distinct '
                'points; give at least one, and no more than the part has.'
            )


class Refiner:
    """Refines masks; the same seed gives the same result. Raises DgssError as `Sam` does."""

    def __init__(
        self, config: RefinementConfig, num_classes: int, device: torch.device | str | None = None
    ) -> None:
        device = device or best_device()
        self.config, self.num_classes = config, num_classes
        self.sam = Sam(config.sam, device)

    def __call__(self, image: np.ndarray, labels: np.ndarray, *seed: int) -> Target:
        """Refined classes and masks for an image RGB uint8 (H,W,3) and the teacher's ids (H,W)."""
        random = np.random.RandomState(seed_of(*seed) & 0xFFFFFFFF)
        return refine(
            labels,
            self.sam.on(image),
            random,
            self.num_classes,
            self.config.min_area,
            self.config.points,
        )


def as_labels(target: Target) -> np.ndarray:
    """Ids uint8 (H,W) from masks that do not overlap; 255 outside all masks."""
    labels = np.full(target.masks.shape[1:], IGNORE, np.uint8)
    for label, mask in zip(target.classes.tolist(), target.masks.bool().numpy(), strict=True):
        labels[mask] = label
    return labels
