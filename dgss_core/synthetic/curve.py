"""The centre line of a street: a sum of waves along s."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


class Curve:
    """`bends` (n, 3): amplitude and wavelength in metres, and phase, of each wave."""

    def __init__(self, bends: np.ndarray) -> None:
        self._amplitude, self._wave, self._phase = bends.T

    def centre(self, s: ArrayLike) -> Any:
        """Lateral offset of the centre line at s, both in metres; an array for an array."""
        angle = 2 * np.pi * np.asarray(s)[..., None] / self._wave + self._phase
        return (self._amplitude * np.sin(angle)).sum(-1)

    def slope(self, s: ArrayLike) -> Any:
        """Derivative of `centre`."""
        k = 2 * np.pi / self._wave
        angle = k * np.asarray(s)[..., None] + self._phase
        return (self._amplitude * k * np.cos(angle)).sum(-1)
