"""No network: a constant mask after a given time, to measure everything around a network."""

from __future__ import annotations

import time

import numpy as np

from dgss_core.bundle import CONFIDENCE, MASK


class NullBackend:
    """Answers class 0, certain, after the milliseconds in its name: `null:20`; `null` at once."""

    key = None
    sha256 = ''

    def __init__(self, name: str) -> None:
        self.name = self.identity = name
        self._seconds = float(name.partition(':')[2] or 0) / 1e3

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        if self._seconds:
            time.sleep(self._seconds)
        shape = images.shape[:3]
        return {MASK: np.zeros(shape, np.uint8), CONFIDENCE: np.full(shape, 255, np.uint8)}

    def close(self) -> None:
        """Nothing is held."""
