"""Digital corruptions of ImageNet-C, and brightness, which its authors count as weather."""

from __future__ import annotations

import cv2
import numpy as np

from dgss_core.encodings import decode_compressed, encode_jpeg

Random = np.random.Generator
SMALL = 244
"""Side in pixels that ImageNet-C gave the lengths of its elastic transform for."""


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


def elastic_transform(
    image: np.ndarray, random: Random, alpha: float, sigma: float, shear: float
) -> np.ndarray:
    """A random affine map and a smooth field of shifts; it moves pixels, and so their labels."""
    height, width = image.shape[:2]
    centre, reach = np.array([width, height]) / 2, min(height, width) / 3
    corners = centre + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = corners + random.uniform(-shear * SMALL, shear * SMALL, corners.shape)
    affine = cv2.getAffineTransform(corners.astype(np.float32), moved.astype(np.float32))
    image = cv2.warpAffine(image, affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    side = 2 * int(3 * sigma * SMALL + 0.5) + 1
    shifts = [
        cv2.GaussianBlur(field, (side, side), sigma * SMALL) * np.float32(alpha * SMALL)
        for field in random.uniform(-1, 1, (2, height, width)).astype(np.float32)
    ]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(
        image,
        columns + shifts[0],
        rows + shifts[1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )


def pixelate(image: np.ndarray, random: Random, factor: float) -> np.ndarray:
    height, width = image.shape[:2]
    small = (max(1, int(width * factor)), max(1, int(height * factor)))
    coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)


def jpeg_compression(image: np.ndarray, random: Random, quality: int) -> np.ndarray:
    pixels = np.rint(image * 255).astype(np.uint8)
    return decode_compressed(encode_jpeg(pixels, quality)).astype(np.float32) / 255
