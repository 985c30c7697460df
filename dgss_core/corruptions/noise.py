"""Noise of ImageNet-C. Images are float32 RGB (H, W, 3) in 0 to 1, in all corruptions."""

from __future__ import annotations

import numpy as np

from dgss_core.synthetic.noise import Random


def gaussian_noise(image: np.ndarray, random: Random, sigma: float) -> np.ndarray:
    return image + sigma * random.standard_normal(image.shape, np.float32)


def shot_noise(image: np.ndarray, random: Random, photons: float) -> np.ndarray:
    """Poisson noise of a sensor that counts `photons` in a pixel of full brightness."""
    return (random.poisson(image * photons) / photons).astype(np.float32)


def impulse_noise(image: np.ndarray, random: Random, share: float) -> np.ndarray:
    """Salt and pepper in a `share` of all values, per channel."""
    drawn = random.random(image.shape, np.float32)
    noisy = np.where(drawn < share / 2, np.float32(0), image)
    return np.where(drawn > 1 - share / 2, np.float32(1), noisy)


def speckle_noise(image: np.ndarray, random: Random, sigma: float) -> np.ndarray:
    return image * (1 + sigma * random.standard_normal(image.shape, np.float32))
