"""The condition of a frame, estimated from its light, colours, haze and contrast.

A linear classifier on photometry, fitted by `training/fit_conditions.py` to synthetic drives and
daylight frames that are darkened, fogged, snowed over and wetted. The mean dark channel shows
haze: He, Sun and Tang, "Single Image Haze Removal Using Dark Channel Prior", CVPR 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from dgss_core.documents import read_json
from dgss_core.synthetic import CONDITIONS

MODEL = Path(__file__).with_name('conditions.json')
SIZE = (160, 96)
"""Width and height in pixels at which an image is described."""
WINDOW = 25
"""Frames on each side whose estimates are averaged: the weather does not change within seconds."""
DARK = 0.02
"""Keeps ratios of brightness finite in black pictures."""


@dataclass(frozen=True)
class ConditionModel:
    """`mean`, `std`: (F,), of the photometry. `weights`: (6, F), `bias`: (6,), by `CONDITIONS`."""

    mean: np.ndarray
    std: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    @classmethod
    @cache
    def load(cls) -> ConditionModel:
        stored = read_json(MODEL)
        names = ('mean', 'std', 'weights', 'bias')
        return cls(*(np.array(stored[name], float) for name in names))

    def log_odds(self, image: np.ndarray) -> np.ndarray:
        """Of each of `CONDITIONS` for an RGB image, uint8 (H, W, 3); float64 (6,)."""
        return self.weights @ ((photometry(image) - self.mean) / self.std) + self.bias


def photometry(image: np.ndarray) -> np.ndarray:
    """What describes the light and the air of an RGB image, uint8 (H, W, 3); float64 (32,).

    Of the upper, middle and lower third, which hold sky, distance and ground: brightness,
    contrast, saturation, two opponent colours, dark channel, and edges, absolute and relative. Of
    the whole: percentiles of the brightness, and shares of white ground and of glare.
    """
    small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    brightness = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    saturation = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 1]
    red, green, blue = cv2.split(small)
    dark_channel = cv2.erode(small.min(2), np.ones((7, 7)))
    edges = np.abs(np.diff(brightness, axis=1))
    found: list[float] = []
    thirds = np.split(np.arange(SIZE[1]), 3)
    for rows in thirds:
        light, steps = brightness[rows].mean(), edges[rows].mean()
        found += [
            light,
            brightness[rows].std(),
            saturation[rows].mean(),
            (blue - (red + green) / 2)[rows].mean(),
            (red - green)[rows].mean(),
            dark_channel[rows].mean(),
            # Logarithms, because haze divides the contrast.
            np.log(steps + 1e-3),
            np.log((steps + 1e-3) / (light + DARK)),
        ]
    found += [*np.percentile(brightness, (2, 25, 50, 75, 98))]
    ground = thirds[-1]
    found += [
        ((brightness[ground] > 0.65) & (saturation[ground] < 0.15)).mean(),
        (brightness > 0.95).mean(),
        np.log(found[-1] / (brightness.mean() + DARK) + 1e-3),
    ]
    return np.array(found, float)


def estimates(log_odds: Sequence[np.ndarray], drives: Sequence[str]) -> list[str]:
    """The condition of each frame, from `ConditionModel.log_odds`, in the order of the drives.

    Within a drive the log-odds of neighbours are averaged; a frame of no drive ('') is alone.
    """
    found: list[str] = []
    for drive, places in groupby(range(len(drives)), lambda place: drives[place]):
        rows = np.array([log_odds[place] for place in places])
        if drive:
            rows = _averaged(rows)
        found += [CONDITIONS[index] for index in rows.argmax(1)]
    return found


def _averaged(rows: np.ndarray) -> np.ndarray:
    """The mean over up to `WINDOW` rows before and after each."""
    sums = np.concatenate([np.zeros((1, rows.shape[1])), rows.cumsum(0)])
    ends = np.arange(len(rows))
    first, last = np.maximum(ends - WINDOW, 0), np.minimum(ends + WINDOW + 1, len(rows))
    return np.asarray((sums[last] - sums[first]) / (last - first)[:, None])
