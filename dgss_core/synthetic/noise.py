"""Random streams and tileable noise."""

from collections.abc import Sequence

import cv2
import numpy as np

Random = np.random.Generator
Color = Sequence[float] | np.ndarray
"""RGB, 0 to 255."""


def stream(seed: int, *key: int) -> Random:
    """An independent random stream for each key of integers."""
    return np.random.default_rng([value % 2**32 for value in (seed, *key)])


def fractal(rng: Random, size: int, base: int = 4, gain: float = 0.55) -> np.ndarray:
    """Tileable sum of octaves of value noise, float32 (size, size) in [0, 1].

    Amplitudes fall by `gain` per octave (Perlin, "An Image Synthesizer", SIGGRAPH 1985).
    """
    total = np.zeros((size, size), np.float32)
    cells, weight = base, 1.0
    while cells <= size // 2:
        grid = rng.random((cells, cells), np.float32)
        pad = 2
        wider = cv2.copyMakeBorder(grid, pad, pad, pad, pad, cv2.BORDER_WRAP)
        scale = size // cells
        big = cv2.resize(wider, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        inner = big[pad * scale : -pad * scale, pad * scale : -pad * scale]
        # `size` need not be a multiple of the cells.
        total += weight * (inner if len(inner) == size else cv2.resize(inner, (size, size)))
        cells, weight = cells * 2, weight * gain
    low, high = np.percentile(total, [0.5, 99.5])
    return np.clip((total - low) / (high - low), 0, 1).astype(np.float32)


def tiled(noise: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Tileable noise at columns `u` and rows `v`, float32 (h, w) each, between four values."""
    return cv2.remap(noise, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def tint(rng: Random, color: Color, spread: float = 12) -> np.ndarray:
    """A colour near `color`, RGB float32 in 4 to 250."""
    return np.clip(np.asarray(color) + rng.normal(0, spread, 3), 4, 250).astype(np.float32)


def rgbe(image: np.ndarray, emission: np.ndarray | int = 0) -> np.ndarray:
    """RGB + emission, uint8 (h, w, 4), from RGB (h, w, 3) and emission, both 0 to 255."""
    out = np.empty((*image.shape[:2], 4), np.uint8)
    out[..., :3] = np.clip(image, 0, 255)
    out[..., 3] = emission
    return out
