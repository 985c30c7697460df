"""Digital corruptions of ImageNet-C, and brightness, which ImageNet-C lists as weather."""

from __future__ import annotations

import cv2
import numpy as np

from dgss_core.images.compressed import decode_compressed, encode_jpeg
from dgss_core.synthetic.noise import Random


def brightness(image: np.ndarray, random: Random, more: float) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] + more, 0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def saturate(image: np.ndarray, random: Random, factor: float, more: float) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + more, 0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def contrast(image: np.ndarray, random: Random, factor: float) -> np.ndarray:
    mean = image.mean((0, 1), keepdims=True)
    return (image - mean) * factor + mean


def elastic_transform(image: np.ndarray, random: Random, alpha: float) -> np.ndarray:
    """Shift pixels by a smooth field, in the form for large images (Michaelis et al., 1907.07484).

    The labels would have to move with the pixels.
    """
    height, width = image.shape[:2]
    sides = [2 * int(3 * 0.01 * length + 0.5) + 1 for length in (width, height)]
    shifts = [
        cv2.GaussianBlur(field, sides, 0.01 * width, sigmaY=0.01 * height)
        for field in random.uniform(-1, 1, (2, height, width)).astype(np.float32)
    ]
    reach = np.float32(0.005 * height * alpha)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    places = columns + reach * shifts[0], rows + reach * shifts[1]
    return cv2.remap(image, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def pixelate(image: np.ndarray, random: Random, factor: float) -> np.ndarray:
    height, width = image.shape[:2]
    small = (max(1, int(width * factor)), max(1, int(height * factor)))
    coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def jpeg_compression(image: np.ndarray, random: Random, quality: int) -> np.ndarray:
    pixels = np.rint(image * 255).astype(np.uint8)
    return decode_compressed(encode_jpeg(pixels, quality)).astype(np.float32) / 255
