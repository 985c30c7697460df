"""The colour changes of torchvision: brightness, contrast, saturation, hue, order of channels.

The formulas are those of torchvision.transforms.v2 on uint8 images; so are the draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from dgss_core.training.augmentation.changes import Change, Look, RandomChange, on, per_image
from dgss_core.training.augmentation.hues import from_hues, hues

GREY = (0.2989, 0.587, 0.114)
"""Shares of red, green and blue in torchvision's grey."""
CHANNELS = torch.zeros(3, 1, 1, dtype=torch.uint8)
"""What torchvision asks for the number of channels."""


class Against(IntEnum):
    """What an image is blended with, in the order of the indices in torchvision's ColorJitter."""

    BLACK = 0
    MEAN_GREY = 1
    OWN_GREY = 2


@dataclass(frozen=True)
class Blended(Change):
    """factor * image + (1 - factor) * other: brightness, contrast or saturation by `factor`."""

    against: Against
    factor: float

    def on_image(self, pixels: np.ndarray) -> np.ndarray:
        rest = 1 - self.factor
        if self.against is Against.OWN_GREY:
            # torchvision cuts off the grey and the result, which takes half a level on average.
            mix = np.eye(3) * self.factor + np.full((3, 3), rest) * GREY
            return cv2.transform(pixels, np.column_stack([mix, (-0.5 - 0.5 * rest,) * 3]))
        mean = 0.0
        if self.against is Against.MEAN_GREY:
            mean = float(cv2.transform(pixels, np.array([[*GREY, -0.5]])).mean())
        levels = np.arange(256) * self.factor + mean * rest
        return cv2.LUT(pixels, np.clip(levels, 0, 255).astype(np.uint8))

    @staticmethod
    def on_batch(images: Tensor, changes: Sequence[Blended]) -> Tensor:
        factor = per_image(images, [change.factor for change in changes])
        kinds = {change.against for change in changes}
        x = images * factor
        if kinds != {Against.BLACK}:
            x += grey_of(images, [change.against for change in changes]) * (1 - factor)
        return x.clamp_(0, 255).to(torch.uint8)


def grey_of(images: Tensor, kinds: Sequence[Against]) -> Tensor:
    """What each image is blended with, float32 (B, 1, H, W)."""
    weights = on(images, GREY, torch.float32).view(1, 3, 1, 1)
    grey = (images * weights).sum(1, keepdim=True).floor_()
    mean = grey.mean((1, 2, 3), keepdim=True)
    kind = per_image(images, [float(kind) for kind in kinds])
    other = torch.where(kind == Against.MEAN_GREY, mean, grey)
    return torch.where(kind == Against.BLACK, 0, other)


@dataclass(frozen=True)
class Turned(Change):
    """Hue turned by `turn`, -0.5 to 0.5 of a whole circle."""

    turn: float

    def on_image(self, pixels: np.ndarray) -> np.ndarray:
        hsv = cv2.cvtColor(pixels * np.float32(1 / 255), cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0] + 360 * self.turn) % 360
        return _quantised(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))

    @staticmethod
    def on_batch(images: Tensor, changes: Sequence[Turned]) -> Tensor:
        hue, saturation, value = hues(images / 255)
        turn = per_image(images, [6 * change.turn for change in changes])[:, 0]
        turned = from_hues((hue + turn).remainder_(6), saturation, value)
        return (turned * QUANTA).clamp_(0, 255).to(torch.uint8)


QUANTA = 256 - 1e-3
"""torchvision's factor from float to uint8, which cuts off."""


def _quantised(image: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(image, alpha=QUANTA, beta=-0.5)


@dataclass(frozen=True)
class Reordered(Change):
    """The channels in another order."""

    order: tuple[int, int, int]

    def on_image(self, pixels: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(pixels[..., self.order])

    @staticmethod
    def on_batch(images: Tensor, changes: Sequence[Reordered]) -> Tensor:
        order = on(images, [change.order for change in changes])[..., None, None]
        return images.gather(1, order.expand_as(images))


class ColorJitter(RandomChange):
    """torchvision's ColorJitter of brightness, contrast and saturation, each up to a share."""

    places = 3

    def __init__(self, brightness: float, contrast: float, saturation: float) -> None:
        super().__init__()
        self.draws = v2.ColorJitter(brightness, contrast, saturation)

    def draw(self) -> Look:
        drawn = self.draws.make_params([])
        factors = [drawn[f'{name}_factor'] for name in ('brightness', 'contrast', 'saturation')]
        order = [int(index) for index in drawn['fn_idx'] if index < len(Against)]
        return tuple(
            None if factors[index] is None else Blended(Against(index), factors[index])
            for index in order
        )


class PhotometricJitter(RandomChange):
    """torchvision's RandomPhotometricDistort, each part with probability `probability`."""

    places = 6

    def __init__(self, hue: float, probability: float) -> None:
        super().__init__()
        self.draws = v2.RandomPhotometricDistort(hue=(-hue, hue), p=probability)

    def draw(self) -> Look:
        drawn = self.draws.make_params([CHANNELS])
        bright, contrast, grey = (
            None if (factor := drawn[f'{name}_factor']) is None else Blended(against, factor)
            for name, against in zip(
                ('brightness', 'contrast', 'saturation'), Against, strict=True
            )
        )
        hue, order = drawn['hue_factor'], drawn['channel_permutation']
        first = drawn['contrast_before']
        return (
            bright,
            contrast if first else None,
            grey,
            None if hue is None else Turned(hue),
            None if first else contrast,
            None if order is None else Reordered(tuple(order.tolist())),
        )
