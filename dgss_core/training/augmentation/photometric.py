"""Colour changes of SSD, which do not affect labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from dgss_core.training.augmentation.changes import Change, Look, RandomChange, on
from dgss_core.training.augmentation.hues import from_hues
from dgss_core.training.augmentation.pixels import uniform

HUES = 180
"""Number of hues of 8-bit images in OpenCV, in steps of two degrees."""


@dataclass(frozen=True)
class Distorted(Change):
    """Grey levels plus `brightness`, times `contrast`; hue plus `hue` steps of two degrees and
    saturation times `saturation`, in OpenCV's 8-bit HSV. Contrast is last if `contrast_last`."""

    brightness: float = 0
    contrast: float = 1
    saturation: float = 1
    hue: int = 0
    contrast_last: bool = False

    @property
    def coloured(self) -> bool:
        return self.saturation != 1 or self.hue != 0

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """uint8 (256,) each: grey levels before and after the change of colour, saturations."""
        levels = np.arange(256, dtype=np.float64)
        before, after = np.clip(levels + self.brightness, 0, 255), levels
        if self.contrast_last:
            after = np.clip(levels * self.contrast, 0, 255)
        else:
            before = np.clip(before * self.contrast, 0, 255)
        saturations = np.clip(levels * self.saturation, 0, 255)
        return before.astype(np.uint8), after.astype(np.uint8), saturations.astype(np.uint8)

    def on_image(self, pixels: np.ndarray) -> np.ndarray:
        before, after, saturations = self.tables()
        pixels = cv2.LUT(pixels, before)
        if self.coloured:
            turned = ((np.arange(256) + self.hue) % HUES).astype(np.uint8)
            table = np.stack([turned, saturations, np.arange(256, dtype=np.uint8)], axis=1)
            hsv = cv2.LUT(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV), table[None])
            pixels = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        return cv2.LUT(pixels, after)

    @staticmethod
    def on_batch(images: Tensor, changes: Sequence[Distorted]) -> Tensor:
        tables = on(images, np.stack([change.tables() for change in changes]))
        before, after, saturations = tables.unbind(1)
        images = looked_up(images, before)
        if any(change.coloured for change in changes):
            hue, saturation, value = rounded_hues(images)
            hue = (hue + on(images, [c.hue for c in changes]).view(-1, 1, 1)).remainder_(HUES)
            saturation = looked_up(saturation, saturations)
            turned = from_hues(hue / (HUES / 6), saturation / 255, value).to(torch.uint8)
            # Hues are rounded to two degrees, so an image without a change of colour is left out.
            coloured = on(images, [change.coloured for change in changes]).view(-1, 1, 1, 1)
            images = torch.where(coloured, turned, images)
        return looked_up(images, after)


def looked_up(values: Tensor, tables: Tensor) -> Tensor:
    """The entries of each image's table (B, 256) at its values (B, ...), 0 to 255."""
    return tables.gather(1, values.flatten(1).long()).view(values.shape)


class PhotometricDistortion(RandomChange):
    """Random brightness, contrast, saturation and hue, each with probability `probability`.

    The distortion of SSD (Liu et al., ECCV 2016) with the ranges of mmsegmentation and
    detectron2, which Rein, VLTSeg and CLOUDS use. Brightness adds up to `brightness` grey levels.
    Contrast multiplies either before or after saturation and hue. Hue shifts by up to `hue` steps
    of two degrees. Unlike the originals, colours are not rounded after every step.
    """

    def __init__(
        self,
        brightness: float = 32,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: int = 18,
        probability: float = 0.5,
    ) -> None:
        super().__init__()
        self.brightness, self.contrast = brightness, contrast
        self.saturation, self.hue, self.probability = saturation, hue, probability

    def draw(self) -> Look:
        def maybe(low: float, high: float, otherwise: float) -> float:
            return uniform(low, high) if uniform(0, 1) < self.probability else otherwise

        return (
            Distorted(
                brightness=maybe(-self.brightness, self.brightness, 0),
                contrast=maybe(*self.contrast, 1),
                saturation=maybe(*self.saturation, 1),
                hue=round(maybe(-self.hue, self.hue, 0)),
                contrast_last=uniform(0, 1) < 0.5,
            ),
        )


def rounded_hues(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue 0 to 179, saturation and value 0 to 255, each int32 (B, H, W), of RGB uint8.

    The 8-bit HSV of OpenCV, which divides in fixed point with 12 bits. `images` are (B, 3, H, W).
    """
    red, green, blue = images.int().unbind(1)
    low, value = torch.aminmax(images.int(), dim=1)
    spread = value - low
    # Without spread or value there is nothing to divide.
    per_spread = ((HUES << 12) / 6 / spread.clamp(min=1)).round_().int()
    per_value = ((255 << 12) / value.clamp(min=1)).round_().int()
    place = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (place * per_spread + 2048) >> 12
    return hue.remainder(HUES), (spread * per_value + 2048) >> 12, value
