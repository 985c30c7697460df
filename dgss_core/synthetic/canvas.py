"""Draws silhouettes in metres, for everything that is rendered as an upright texture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dgss_core.synthetic.noise import Color, rgbe
from dgss_core.synthetic.texture import TRANSPARENT, PaintedLater, Texture

Point = tuple[float, float]
"""x right of the middle, z up, metres."""


@dataclass(frozen=True)
class Sprite:
    """An upright texture on the ground; width and height in metres."""

    texture: Texture
    width: float
    height: float


def sprite_later(draw: Callable[[], Sprite], *, width: float, height: float) -> Sprite:
    """The sprite of `width` x `height` metres that `draw` returns, drawn when it is first seen."""
    return Sprite(PaintedLater(lambda: draw().texture), width, height)


class Canvas:
    """Draws labelled shapes; positions and sizes in metres, `density` in texels per metre.

    Colours are RGB in 0 to 255; `emission` is 0 to 255.
    """

    def __init__(self, *, width: float, height: float, density: int) -> None:
        self.width, self.height, self.density = width, height, density
        shape = int(height * density), int(width * density)
        self.image = np.zeros((*shape, 3), np.float32)
        self.light = np.zeros(shape, np.uint8)
        self.labels = np.full(shape, TRANSPARENT, np.uint8)
        self._shines = False

    def _pixel(self, x: float, z: float) -> tuple[int, int]:
        x, z, d = float(x), float(z), self.density
        return round((x + self.width / 2) * d * 8 - 4), round((self.height - z) * d * 8 - 4)

    def _fill(
        self, draw: Callable[[np.ndarray, Any], Any], color: Color, label: int, emission: int
    ) -> None:
        draw(self.image, [float(c) for c in color])
        draw(self.labels, label)
        self._shines |= emission > 0
        if self._shines:
            draw(self.light, emission)

    def ellipse(
        self,
        x: float,
        z: float,
        rx: float,
        rz: float,
        color: Color,
        label: int,
        emission: int = 0,
        thickness: int = -1,
    ) -> None:
        axes = round(rx * self.density * 8), round(rz * self.density * 8)
        at = self._pixel(x, z)
        self._fill(
            lambda t, v: cv2.ellipse(t, at, axes, 0, 0, 360, v, thickness, cv2.LINE_8, 3),
            color, label, emission,
        )  # fmt: skip

    def polygon(
        self, points: Sequence[Point], color: Color, label: int, emission: int = 0
    ) -> None:
        corners = np.array([self._pixel(x, z) for x, z in points], np.int32)
        self._fill(
            lambda t, v: cv2.fillPoly(t, [corners], v, cv2.LINE_8, 3), color, label, emission
        )

    def line(
        self, points: Sequence[Point], width: float, color: Color, label: int, emission: int = 0
    ) -> None:
        corners = np.array([self._pixel(x, z) for x, z in points], np.int32)
        thick = max(1, round(width * self.density))
        self._fill(
            lambda t, v: cv2.polylines(t, [corners], False, v, thick, cv2.LINE_8, 3),
            color, label, emission,
        )  # fmt: skip

    def sprite(self, relief: float = 0.0) -> Sprite:
        """Finish the drawing; `relief` (0 to 1) darkens it towards the silhouette's edge."""
        solid = (self.labels != TRANSPARENT).astype(np.float32)
        if relief:
            depth = cv2.GaussianBlur(solid, (0, 0), 0.06 * self.density)
            slope = cv2.Sobel(depth, cv2.CV_32F, 1, 0, ksize=3)
            self.image *= (1 - relief + relief * depth**2 + 1.2 * relief * slope)[..., None]
        drawn = np.flatnonzero(solid)
        mean = self.image.reshape(-1, 3)[drawn].mean(0) if len(drawn) else 0
        np.copyto(self.image, mean, where=(solid == 0)[..., None])
        texture = Texture(rgbe(self.image, self.light), self.labels)
        return Sprite(texture, width=self.width, height=self.height)
