"""Gaussian blur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dgss_core.training.augmentation.changes import Change, Look, RandomChange, per_image
from dgss_core.training.augmentation.pixels import uniform


@dataclass(frozen=True)
class Blurred(Change):
    """A Gaussian of `side` pixels with the standard deviation `sigma`; the border is mirrored."""

    side: int
    sigma: float

    def on_image(self, pixels: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(
            pixels, (self.side, self.side), self.sigma, borderType=cv2.BORDER_REFLECT_101
        )

    def batched(self, *, height: int, width: int) -> bool:
        return mirrors(self.side // 2, height=height, width=width)

    @staticmethod
    def on_batch(images: Tensor, changes: Sequence[Blurred]) -> Tensor:
        sigmas = [change.sigma for change in changes]
        weights = gaussians(images, sigmas, [change.side // 2 for change in changes])
        return filtered(images, weights).round_().to(torch.uint8)


def gaussians(images: Tensor, sigmas: Sequence[float], reach: Sequence[int]) -> Tensor:
    """A Gaussian for each image, cut at its reach: float32 (B, 1, 1, 2 * max(reach) + 1)."""
    half = max(reach)
    steps = torch.arange(-half, half + 1, device=images.device).view(1, 1, 1, -1)
    weights = torch.exp(-((steps / per_image(images, sigmas)) ** 2) / 2)
    weights = weights * (steps.abs() <= per_image(images, reach))
    return weights / weights.sum(-1, keepdim=True)


def mirrors(reach: int, *, height: int, width: int) -> bool:
    """Whether torch can mirror the border of an image for a kernel of this reach."""
    return reach < min(height, width)


def filtered(images: Tensor, weights: Tensor) -> Tensor:
    """Images (B, C, H, W) as float32 after the filter (B, 1, 1, K) of each along both axes.

    `mirrors` must hold for K // 2.
    """
    channels, half = images.shape[1], weights.shape[-1] // 2
    x = F.pad(images.float(), (half,) * 4, mode='reflect').flatten(0, 1).unsqueeze(0)
    rows = weights.repeat_interleave(channels, 0)
    x = F.conv2d(x, rows, groups=len(rows))
    return F.conv2d(x, rows.transpose(2, 3), groups=len(rows)).view(images.shape)


class GaussianBlur(RandomChange):
    """torchvision's GaussianBlur: a kernel of `side` pixels, sigma from `sigma` (low, high)."""

    def __init__(self, side: int, sigma: tuple[float, float]) -> None:
        super().__init__()
        self.side, self.sigma = side, sigma

    def draw(self) -> Look:
        return (Blurred(self.side, uniform(*self.sigma)),)
