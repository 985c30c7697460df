"""Blur of ImageNet-C on float32 RGB (H, W, 3) in 0 to 1; lengths in pixels at every image size."""

from __future__ import annotations

import cv2
import numpy as np

from dgss_core.synthetic.noise import Random


def gaussian_blur(image: np.ndarray, random: Random, sigma: float) -> np.ndarray:
    return smooth(image, sigma)


def defocus_blur(image: np.ndarray, random: Random, radius: int, soften: float) -> np.ndarray:
    disk = disk_kernel(radius, soften)
    return cv2.filter2D(image, -1, disk, borderType=cv2.BORDER_REFLECT_101)


def glass_blur(
    image: np.ndarray, random: Random, sigma: float, reach: int, rounds: int
) -> np.ndarray:
    """Frosted glass: smooth, replace pixels by others up to `reach` away, smooth again.

    ImageNet-C swaps pixels one after the other; here all pixels of a round move at once, which is
    milder.
    """
    image = smooth(image, sigma)
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    for _ in range(rounds):
        dy, dx = random.integers(-reach, reach, (2, height, width))
        image = image[np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1)]
    return smooth(image, sigma)


def motion_blur(image: np.ndarray, random: Random, radius: int, sigma: float) -> np.ndarray:
    return smear(image, radius, sigma, motion_direction(random))


def motion_direction(random: Random) -> float:
    """The direction of a motion blur in degrees."""
    return random.uniform(-45, 45)


def zoom_blur(image: np.ndarray, random: Random, last: float, step: float) -> np.ndarray:
    """The mean of the image and its magnifications from 1 to `last` in steps of `step`."""
    factors = np.arange(1, last, step)
    total = image.copy()
    for factor in factors:
        total += zoom(image, factor)
    return total / (len(factors) + 1)


def smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur, its kernel cut at four sigmas."""
    side = kernel_side(sigma)
    return cv2.GaussianBlur(image, (side, side), sigma)


def kernel_side(sigma: float) -> int:
    """Side in pixels of a Gaussian that is cut at four sigmas."""
    return 2 * int(4 * sigma + 0.5) + 1


def disk_reach(radius: int) -> int:
    """Pixels from the middle of `disk_kernel` to its border."""
    return max(8, radius)


def disk_kernel(radius: int, soften: float) -> np.ndarray:
    """A disk as a kernel of sum 1, float32 (k, k) with k = 2 * disk_reach(radius) + 1.

    `soften` is the sigma that smooths its rim.
    """
    reach = disk_reach(radius)
    side = np.arange(-reach, reach + 1)
    disk = (side[:, None] ** 2 + side**2 <= radius**2).astype(np.float32)
    kernel = 3 if radius <= 8 else 5
    return cv2.GaussianBlur(disk / disk.sum(), (kernel, kernel), soften)


def smear(image: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    """Convolve with `smear_kernel`."""
    kernel = smear_kernel(radius, sigma, degrees)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def smear_kernel(radius: int, sigma: float, degrees: float) -> np.ndarray:
    """Half a Gaussian of `2 * radius` pixels along a direction, as a kernel of sum 1.

    The kernel is float32 (k, k) with k = 4 * radius + 1.
    """
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
    return kernel / kernel.sum()


def zoom(image: np.ndarray, factor: float) -> np.ndarray:
    """Magnify the middle of the image to the size of the image."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, factor)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
