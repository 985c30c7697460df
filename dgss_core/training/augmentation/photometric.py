"""Colour changes, which do not affect labels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from torchvision.transforms import v2
from torchvision.tv_tensors import Image

from dgss_core.training.augmentation.pixels import to_image, to_pixels, uniform

HUES = 180
"""Number of hues of 8-bit images in OpenCV, in steps of two degrees."""


class PhotometricDistortion(v2.Transform):
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

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        def maybe(low: float, high: float, otherwise: float) -> float:
            return uniform(low, high) if uniform(0, 1) < self.probability else otherwise

        return {
            'brightness': maybe(-self.brightness, self.brightness, 0),
            'contrast': maybe(*self.contrast, 1),
            'saturation': maybe(*self.saturation, 1),
            'hue': round(maybe(-self.hue, self.hue, 0)),
            'contrast_last': uniform(0, 1) < 0.5,
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, Image):
            return inpt
        levels = np.arange(256, dtype=np.float64)
        before = np.clip(levels + params['brightness'], 0, 255)
        after = levels
        if params['contrast_last']:
            after = np.clip(levels * params['contrast'], 0, 255)
        else:
            before = np.clip(before * params['contrast'], 0, 255)
        pixels = cv2.LUT(to_pixels(inpt), before.astype(np.uint8))
        if params['saturation'] != 1 or params['hue']:
            pixels = _change_colour(pixels, params['saturation'], params['hue'])
        return to_image(cv2.LUT(pixels, after.astype(np.uint8)))


def _change_colour(pixels: np.ndarray, saturation: float, hue: int) -> np.ndarray:
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    levels = np.arange(256)
    table = np.stack(
        [(levels + hue) % HUES, np.clip(levels * saturation, 0, 255), levels], axis=1
    ).astype(np.uint8)
    return cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2RGB)
