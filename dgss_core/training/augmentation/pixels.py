"""Conversion between images of torchvision and of OpenCV."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.tv_tensors import Image


def to_pixels(image: torch.Tensor) -> np.ndarray:
    """Image uint8 (3, H, W) as uint8 (H, W, 3)."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def to_image(pixels: np.ndarray) -> Image:
    """Pixels uint8 (H, W, 3) as Image uint8 (3, H, W) that shares their memory."""
    return Image(torch.from_numpy(pixels).permute(2, 0, 1))


def uniform(low: float, high: float) -> float:
    """A random number from torch's generator, which torchvision's transforms use too."""
    return torch.empty(1).uniform_(low, high).item()
