"""Draws flat polygons and textured quads, with a depth test, into deferred-shading buffers."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import cv2
import numpy as np

from dgss_core.synthetic.camera import DriveCamera
from dgss_core.synthetic.classes import SKY
from dgss_core.synthetic.noise import Color
from dgss_core.synthetic.projection import BITS, Projected, project
from dgss_core.synthetic.texture import TRANSPARENT, Texture

GROUND, BACKDROP = 0, 1
"""Faces that are not drawn as such."""
UPRIGHT = (-0.55, 0.0, 0.6)
"""Normal (s, y, z) by which what is a flat picture of something round is lit."""


class Face(NamedTuple):
    """A flat surface: a convex polygon of one colour, or a parallelogram with a texture.

    `corners` (n >= 3, 3): (s, y, z) in metres; those of a texture (4, 3) in the order (0, 0),
    (w, 0), (w, h), (0, h). `paint`: a texture, or RGB in 0 to 255. `normal`: (s, y, z).
    """

    corners: np.ndarray
    paint: Texture | Color
    label: int
    normal: Any


class GBuffer:
    """The visible surface of every pixel, before light.

    `color` (H, W, 4) uint8: RGB + emission. `label` (H, W) uint8. `inverse_depth` (H, W) float32:
    1/m, 0 for the sky. `face` (H, W) uint16: index into `normals`; `GROUND` and `BACKDROP` where
    no face is painted.
    """

    def __init__(self, camera: DriveCamera) -> None:
        shape = camera.height, camera.width
        self.camera = camera
        self.color = np.zeros((*shape, 4), np.uint8)
        self.label = np.full(shape, SKY, np.uint8)
        self.inverse_depth = np.zeros(shape, np.float32)
        self.face = np.zeros(shape, np.uint16)
        self.normals: list[tuple[float, float, float]] = [(0.0, 0.0, 1.0), UPRIGHT]
        self._faces: dict[tuple[float, float, float], int] = {}
        self._columns, self._rows = (np.arange(n) + 0.5 for n in (camera.width, camera.height))

    def face_of(self, normal: Any) -> int:
        """Index of a normal (s, y, z) in `normals`, rounded to 0.01; new ones are appended."""
        s, y, z = normal
        key = round(float(s), 2), round(float(y), 2), round(float(z), 2)
        if key not in self._faces:
            self._faces[key] = len(self.normals)
            self.normals.append(key)
        return self._faces[key]

    def draw(self, faces: Iterable[Face]) -> None:
        """Draw faces one after another; a pixel shows the nearest of them."""
        faces, camera = list(faces), self.camera
        corners = [face.corners for face in faces]
        places = project(corners, camera.matrix, width=camera.width, height=camera.height)
        for face, place in zip(faces, places, strict=True):
            if place is not None:
                self._draw(face, place)

    def _draw(self, face: Face, place: Projected) -> None:
        (x0, y0), (x1, y1), slope = place.low, place.high, place.slope
        roi = slice(y0, y1), slice(x0, x1)
        rows = slope[1] * self._rows[y0:y1] + slope[2]
        near = np.add.outer(rows, slope[0] * self._columns[x0:x1]).astype(np.float32)
        visible = near > self.inverse_depth[roi]
        inside = np.zeros(near.shape, np.uint8)
        cv2.fillConvexPoly(inside, place.corners, 1, cv2.LINE_8, BITS)
        visible &= inside.view(bool)
        if not cv2.countNonZero(visible.view(np.uint8)):
            return
        paint = face.paint
        if isinstance(paint, Texture):
            painted, label = self._texture(roi, visible, face.label, paint, place)
        else:
            painted, label = visible, face.label
            color = np.array([(*paint, 0)], np.uint8).view(np.uint32)[0, 0]
            np.copyto(self.color.view(np.uint32)[..., 0][roi], color, where=visible)
        np.copyto(self.inverse_depth[roi], near, where=visible)
        np.copyto(self.label[roi], label, where=visible, casting='unsafe')
        np.copyto(self.face[roi], self.face_of(face.normal), where=painted, casting='unsafe')

    def _texture(
        self,
        roi: tuple[slice, slice],
        visible: np.ndarray,
        label: int,
        texture: Texture,
        place: Projected,
    ) -> tuple[np.ndarray, int | np.ndarray]:
        """Paint a texture where it is `visible`, from which its surroundings are removed.

        Returns the mask of the painted pixels, and the labels.
        """
        colors, solid, labels, alpha = texture.level(width=place.size[0], height=place.size[1])
        warp = _warp(colors, place)
        size = visible.shape[1], visible.shape[0]
        found: int | np.ndarray = label if texture.label is None else texture.label
        if solid is not None:
            visible &= _warped(solid, warp, size, cv2.INTER_LINEAR) > 100
        if labels is not None:
            found = _warped(labels, warp, size, cv2.INTER_NEAREST)
            visible &= found != TRANSPARENT
        painted = visible
        if alpha is not None:
            painted = visible & (_warped(alpha, warp, size, cv2.INTER_LINEAR) > 127)
        source = _warped(colors, warp, size, cv2.INTER_LINEAR)
        cv2.copyTo(source, painted.view(np.uint8), self.color[roi])
        return painted, found


def _warp(colors: np.ndarray, place: Projected) -> np.ndarray:
    """Homography from texels to the pixels of the bounding box."""
    height, width = colors.shape[:2]
    x, y = place.low
    texel = np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1.0]])
    shift = np.array([[1, 0, -x - 0.5], [0, 1, -y - 0.5], [0, 0, 1.0]])
    return shift @ place.plane @ texel


def _warped(image: np.ndarray, warp: np.ndarray, size: tuple[int, int], how: int) -> np.ndarray:
    """`size`: (width, height), as cv2 takes it."""
    return cv2.warpPerspective(image, warp, size, flags=how, borderMode=cv2.BORDER_REPLICATE)
