"""The ego camera: a pinhole that always looks along +s, turned by shifting its image plane."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """Pinhole camera in the street frame.

    World points are (s, y, z) in metres: s forward along the street's chart, y to the right, z up.
    The optical axis is parallel to s; heading and pitch are shifts of the principal point (a shift
    lens), so that verticals stay vertical and depth is `s - self.s`.
    """

    width: int
    height: int
    focal: float
    """pixels"""
    cx: float
    cy: float
    """Column and row of the point at infinity ahead; `cy` is the horizon."""
    s: float
    y: float
    z: float
    """Metres; z is the height above the road."""

    @property
    def matrix(self) -> np.ndarray:
        """(3, 4) float64: [u d, v d, d] = matrix @ [s, y, z, 1]."""
        f = self.focal
        return np.array(
            [
                [self.cx, f, 0.0, -self.cx * self.s - f * self.y],
                [self.cy, 0.0, -f, -self.cy * self.s + f * self.z],
                [1.0, 0.0, 0.0, -self.s],
            ]
        )

    def scaled(self, factor: int) -> 'Camera':
        """The same camera with `factor` times the pixels along each side."""
        return Camera(
            self.width * factor,
            self.height * factor,
            self.focal * factor,
            self.cx * factor,
            self.cy * factor,
            self.s,
            self.y,
            self.z,
        )
