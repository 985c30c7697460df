"""Changes of exposure between noon and night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from dgss_core.training.augmentation.changes import (
    Change,
    Look,
    RandomChange,
    draw_seed,
    noise_plane,
    on,
    per_image,
)
from dgss_core.training.augmentation.pixels import uniform


@dataclass(frozen=True)
class Exposed(Change):
    """Grey levels by a curve per channel, then sensor noise, the same in all channels.

    value -> gain * (value / 255) ** gamma * 255 + noise * 255 * N(0, 1)
    """

    gamma: float
    gain: tuple[float, float, float]
    noise: float
    seed: int

    def on_image(self, pixels: np.ndarray) -> np.ndarray:
        levels = np.linspace(0, 1, 256, dtype=np.float32)[:, None] ** np.float32(self.gamma)
        levels = levels * (np.array(self.gain, np.float32) * 255)
        if not self.noise:
            return cv2.LUT(pixels, np.minimum(levels, 255).astype(np.uint8)[None])
        noise = noise_plane(self.seed, pixels.shape[:2]).numpy()
        noise *= np.float32(self.noise * 255)
        light = cv2.add(cv2.LUT(pixels, levels[None]), cv2.merge([noise] * 3))
        return np.clip(light, 0, 255, out=light).astype(np.uint8)

    @staticmethod
    def on_batch(images: Tensor, changes: Sequence[Exposed]) -> Tensor:
        gain = on(images, [change.gain for change in changes], torch.float32)[..., None, None]
        light = (images / 255) ** per_image(images, [change.gamma for change in changes])
        light *= gain * 255
        if any(change.noise for change in changes):
            size = (1, *images.shape[-2:])
            noise = torch.stack([noise_plane(c.seed, size, images.device) for c in changes])
            light.addcmul_(noise, per_image(images, [255 * c.noise for c in changes]))
        return light.clamp_(0, 255).to(torch.uint8)


class Exposure(RandomChange):
    """Random gamma, gain, colour tint and sensor noise of an RGB uint8 image (3, H, W).

    A darker exposure gets more noise, like a sensor with raised gain. `gamma` and `gain` are
    ranges (low, high); each channel's gain varies by up to `tint`; `noise` is the highest
    standard deviation at gain 1, as a share of 255.
    """

    def __init__(
        self,
        gamma: tuple[float, float] = (0.6, 2.2),
        gain: tuple[float, float] = (0.3, 1.3),
        tint: float = 0.15,
        noise: float = 0.04,
    ) -> None:
        super().__init__()
        self.gamma, self.gain, self.tint, self.noise = gamma, gain, tint, noise

    def draw(self) -> Look:
        gain, gamma = uniform(*self.gain), uniform(*self.gamma)
        red, green, blue = (gain * (1 + uniform(-self.tint, self.tint)) for _ in range(3))
        noise = self.noise * torch.rand(1).item() / max(gain, 0.3)
        return (Exposed(gamma, (red, green, blue), noise, draw_seed()),)
