"""The frames most worth labelling: unsure, unlike each other, and no near-duplicates.

Greedy k-centres (Sener and Savarese, "Active Learning for Convolutional Neural Networks: A
Core-Set Approach", ICLR 2018, sec. 4.1), where a frame counts the more the less sure its mask is.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dgss_core.evaluation.store import Stored
from dgss_core.images.compressed import decode_compressed

GRID = (12, 8)
"""Width and height at which frames are compared."""
LEAST = 0.02
"""Least distance of two chosen frames. Neighbours in a film at 10 Hz have about half of it."""


def feature(stored: Stored) -> np.ndarray:
    """What a frame is compared by: its colours on a coarse grid, float64 (D,), each 0 to 1."""
    small = cv2.resize(decode_compressed(stored.thumbnail), GRID, interpolation=cv2.INTER_AREA)
    return small.astype(np.float64).ravel() / 255


def choose(features: Sequence[np.ndarray], certainty: Sequence[float], count: int) -> list[int]:
    """The places of up to `count` frames, the most worth labelling first.

    `certainty`: mean confidence of each frame, 0 to 1. Fewer are returned where the rest is too
    much like those that are chosen.
    """
    if not len(features):
        return []
    points, doubt = np.array(features), 1 - np.array(certainty, float)
    chosen = [int(doubt.argmax())]
    distance = _rms(points - points[chosen[0]])
    while len(chosen) < count:
        worth = np.where(distance > LEAST, distance * (doubt + 0.01), 0)
        best = int(worth.argmax())
        if worth[best] == 0:
            break
        chosen.append(best)
        distance = np.minimum(distance, _rms(points - points[best]))
    return chosen


def _rms(differences: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.square(differences).mean(1)))
