"""Drawing of silhouettes in metres, for everything that is shown as an upright texture."""

from dataclasses import dataclass

import cv2
import numpy as np

from dgss_core.synthetic.noise import rgbe
from dgss_core.synthetic.raster import TRANSPARENT, Texture

POLE, LIGHT, SIGN, PLANT, PERSON, RIDER, MOTORCYCLE, BICYCLE = 5, 6, 7, 8, 11, 12, 17, 18


@dataclass(frozen=True)
class Sprite:
    """A texture that stands upright on the ground, its size in metres."""

    texture: Texture
    width: float
    height: float


class Canvas:
    """Draws shapes in metres (x right of the middle, z up) with a label each."""

    def __init__(self, width: float, height: float, density: int) -> None:
        self.width, self.height, self.density = width, height, density
        shape = int(height * density), int(width * density)
        self.image = np.zeros((*shape, 3), np.float32)
        self.light = np.zeros(shape, np.uint8)
        self.labels = np.full(shape, TRANSPARENT, np.uint8)

    def _pixel(self, x: float, z: float) -> tuple[int, int]:
        d = self.density
        return round((x + self.width / 2) * d * 8 - 4), round((self.height - z) * d * 8 - 4)

    def _fill(self, draw, color, label, emission) -> None:
        color = [float(c) for c in color]
        for target, value in (
            (self.image, color), (self.labels, label), (self.light, emission),
        ):  # fmt: skip
            draw(target, value)

    def ellipse(self, x, z, rx, rz, color, label, emission=0, thickness=-1) -> None:
        axes = round(rx * self.density * 8), round(rz * self.density * 8)
        at = self._pixel(x, z)
        self._fill(
            lambda t, v: cv2.ellipse(t, at, axes, 0, 0, 360, v, thickness, cv2.LINE_8, 3),
            color, label, emission,
        )  # fmt: skip

    def polygon(self, points, color, label, emission=0) -> None:
        corners = np.array([self._pixel(x, z) for x, z in points], np.int32)
        self._fill(
            lambda t, v: cv2.fillPoly(t, [corners], v, cv2.LINE_8, 3), color, label, emission
        )

    def line(self, points, width, color, label, emission=0) -> None:
        corners = np.array([self._pixel(x, z) for x, z in points], np.int32)
        thick = max(1, round(width * self.density))
        self._fill(
            lambda t, v: cv2.polylines(t, [corners], False, v, thick, cv2.LINE_8, 3),
            color, label, emission,
        )  # fmt: skip

    def sprite(self, relief: float = 0.0) -> Sprite:
        """Close the drawing; `relief` rounds it off by darkening towards the silhouette."""
        solid = (self.labels != TRANSPARENT).astype(np.float32)
        if relief:
            depth = cv2.GaussianBlur(solid, (0, 0), 0.06 * self.density)
            slope = cv2.Sobel(depth, cv2.CV_32F, 1, 0, ksize=3)
            self.image *= (1 - relief + relief * depth**2 + 1.2 * relief * slope)[..., None]
        mean = self.image[solid > 0].mean(0) if solid.any() else 0
        self.image[solid == 0] = mean
        return Sprite(Texture(rgbe(self.image, self.light), self.labels), self.width, self.height)
