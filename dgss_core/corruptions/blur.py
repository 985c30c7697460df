"""Blur of ImageNet-C. Radii and sigmas are pixels of the image, whatever its size."""

from __future__ import annotations

import cv2
import numpy as np

Random = np.random.Generator


def gaussian_blur(image: np.ndarray, random: Random, sigma: float) -> np.ndarray:
    return smooth(image, sigma)


def defocus_blur(image: np.ndarray, random: Random, radius: int, soften: float) -> np.ndarray:
    """A disk, its rim smoothed by `soften`."""
    side = np.arange(-max(8, radius), max(8, radius) + 1)
    disk = (side[:, None] ** 2 + side**2 <= radius**2).astype(np.float32)
    kernel = 3 if radius <= 8 else 5
    disk = cv2.GaussianBlur(disk / disk.sum(), (kernel, kernel), soften)
    return cv2.filter2D(image, -1, disk, borderType=cv2.BORDER_REFLECT_101)


def glass_blur(
    image: np.ndarray, random: Random, sigma: float, reach: int, rounds: int
) -> np.ndarray:
    """Frosted glass: smoothed, pixels replaced by ones up to `reach` away, smoothed again.

    ImageNet-C swaps pixels one after the other; here all of a round move at once, which is milder.
    """
    image = smooth(image, sigma)
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    for _ in range(rounds):
        dy, dx = random.integers(-reach, reach, (2, height, width))
        image = image[np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1)]
    return smooth(image, sigma)


def motion_blur(image: np.ndarray, random: Random, radius: int, sigma: float) -> np.ndarray:
    return smear(image, radius, sigma, random.uniform(-45, 45))


def zoom_blur(image: np.ndarray, random: Random, last: float, step: float) -> np.ndarray:
    """The mean of the image and of its magnifications from 1 up to `last`."""
    factors = np.arange(1, last, step)
    total = image.copy()
    for factor in factors:
        total += zoom(image, factor)
    return total / (len(factors) + 1)


def smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur whose kernel ends at four sigmas."""
    side = 2 * int(4 * sigma + 0.5) + 1
    return cv2.GaussianBlur(image, (side, side), sigma)


def smear(image: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    """One half of a Gaussian of `radius` pixels, laid along a direction."""
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2)).astype(np.float32)
    reach = 2 * radius
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    angle = np.deg2rad(degrees)
    ends = np.stack([steps * np.cos(angle), steps * np.sin(angle)], axis=1) + reach
    for (x, y), weight in zip(ends, weights, strict=True):
        column, row = int(x), int(y)
        right, down = x - column, y - row
        for dy, vertical in ((0, 1 - down), (1, down)):
            for dx, horizontal in ((0, 1 - right), (1, right)):
                if vertical * horizontal > 0:
                    kernel[row + dy, column + dx] += weight * vertical * horizontal
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def zoom(image: np.ndarray, factor: float) -> np.ndarray:
    """The middle of the image, magnified to its size."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, factor)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
