"""The ego camera: a pinhole along +s; heading and pitch shift its image plane."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, kw_only=True)
class DriveCamera:
    """Pinhole camera in the street frame.

    World points are (s, y, z) in metres: s forward along the street's chart, y to the right, z up.
    The optical axis is parallel to s. Heading and pitch shift the principal point (a shift lens):
    verticals stay vertical, and depth is `s - self.s`.
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

    def scaled(self, factor: int) -> 'DriveCamera':
        """The same camera with `factor` times the pixels along each side."""
        return replace(
            self,
            width=self.width * factor,
            height=self.height * factor,
            focal=self.focal * factor,
            cx=self.cx * factor,
            cy=self.cy * factor,
        )
