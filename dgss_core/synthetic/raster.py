"""Draws flat polygons and textured quads, with a depth test, into deferred-shading buffers."""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import cv2
import numpy as np

from dgss_core.synthetic.camera import DriveCamera
from dgss_core.synthetic.classes import SKY
from dgss_core.synthetic.noise import Color

TRANSPARENT = 254
"""Label of a texel outside the silhouette."""
NEAR = 0.6
"""Distance of the near plane in metres."""
_BITS = 4


Level = tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]


class Texture:
    """Colours (h, w, 4) uint8 = RGB + emission, optionally with labels and a silhouette.

    `labels` (h, w) uint8: train ids, 254 outside the silhouette. `alpha` (h, w) uint8: above 127
    where a texel has a colour; the gaps of a fence have a label but no colour. Smaller versions
    are made on first use and kept (each side halved on its own: a rip-map).
    """

    def __init__(
        self,
        colors: np.ndarray,
        labels: np.ndarray | None = None,
        alpha: np.ndarray | None = None,
    ) -> None:
        solid, self.label = None, None
        if labels is not None:
            gone = labels == TRANSPARENT
            solid = cv2.GaussianBlur(np.where(gone, 0, 255).astype(np.uint8), (0, 0), 0.7)
            # The smooth edge can reach texels outside: give them the label of their neighbours.
            rim = cv2.erode(labels, np.ones((5, 5), np.uint8))
            labels = np.where(gone, rim, labels)
            present = np.unique(labels[labels != TRANSPARENT])
            if len(present) == 1:
                self.label, labels = int(present[0]), None
        self.colors = colors
        self._levels: dict[tuple[int, int], Level] = {(0, 0): (colors, solid, labels, alpha)}

    def level(self, *, width: float, height: float) -> Level:
        """(colors, solid, labels, alpha) for a size of `width` x `height` pixels.

        `solid` is the silhouette, None for a full rectangle. `labels` is None when every texel
        has the label `self.label`, or the label that the caller gives.
        """
        h, w = self.colors.shape[:2]
        key = (_halvings(w, width), _halvings(h, height))
        if key not in self._levels:
            size = (max(1, w >> key[0]), max(1, h >> key[1]))
            colors, solid, labels, alpha = self._levels[0, 0]
            self._levels[key] = (
                cv2.resize(colors, size, interpolation=cv2.INTER_AREA),
                _resized(solid, size, cv2.INTER_AREA),
                _resized(labels, size, cv2.INTER_NEAREST),
                _resized(alpha, size, cv2.INTER_NEAREST),
            )
        return self._levels[key]


def _halvings(texels: int, pixels: float) -> int:
    return int(np.clip(np.floor(np.log2(texels / max(pixels, 1.0))), 0, 8))


def _resized(
    mask: np.ndarray | None, size: tuple[int, int], interpolation: int
) -> np.ndarray | None:
    """`size`: (width, height), as cv2 takes it."""
    return None if mask is None else cv2.resize(mask, size, interpolation=interpolation)


Points = Sequence[float] | Sequence[Sequence[float]] | Sequence[np.ndarray] | np.ndarray
"""One (s, y, z), or several."""


class GBuffer:
    """The visible surface of every pixel, before light.

    `color` (H, W, 4) uint8: RGB + emission. `label` (H, W) uint8. `inverse_depth` (H, W) float32:
    1/m, 0 for the sky. `face` (H, W) uint16: index into `normals`.
    """

    def __init__(self, camera: DriveCamera) -> None:
        shape = camera.height, camera.width
        self.camera = camera
        self.matrix = camera.matrix
        self.color = np.zeros((*shape, 4), np.uint8)
        self.label = np.full(shape, SKY, np.uint8)
        self.inverse_depth = np.zeros(shape, np.float32)
        self.face = np.zeros(shape, np.uint16)
        self.normals: list[tuple[float, float, float]] = [(0.0, 0.0, 1.0)]
        self._faces = {self.normals[0]: 0}

    def face_of(self, normal: Any) -> int:
        """Index of a normal (s, y, z) in `normals`, rounded to 0.01; new ones are appended."""
        s, y, z = (round(float(n), 2) for n in normal)
        key = s, y, z
        if key not in self._faces:
            self._faces[key] = len(self.normals)
            self.normals.append(key)
        return self._faces[key]

    def polygon(
        self,
        points: Points,
        color: Color,
        label: int,
        normal: Points | None = None,
        emission: int = 0,
    ) -> None:
        """Draw a convex flat polygon of one colour, points (n >= 3, 3) in metres."""
        self._draw(np.asarray(points, np.float64), None, (*color, emission), label, normal)

    def quad(
        self, corners: Points, texture: Texture, label: int, normal: Points | None = None
    ) -> None:
        """Draw a parallelogram, corners (4, 3) in texture order (0,0) (w,0) (w,h) (0,h)."""
        self._draw(np.asarray(corners, np.float64), texture, None, label, normal)

    def _draw(self, points, texture, color, label, normal) -> None:
        first = points[0]
        span = np.stack([points[1] - first, points[-1] - first], 1)
        plane = self.matrix[:, :3] @ span
        plane = np.column_stack([plane, self.matrix[:, :3] @ first + self.matrix[:, 3]])
        if abs(np.linalg.det(plane)) < 1e-9:
            return
        outline = _outline(points, self.matrix)
        if outline is None:
            return
        low = np.maximum(np.floor(outline.min(0)), 0).astype(int)
        high = np.minimum(
            np.ceil(outline.max(0)) + 1, (self.camera.width, self.camera.height)
        ).astype(int)
        if (high <= low).any():
            return
        roi = slice(low[1], high[1]), slice(low[0], high[0])
        near = _inverse_depth(plane, low, high)
        inside = np.zeros(near.shape, np.uint8)
        corners = np.clip((outline - low - 0.5) * (1 << _BITS), -1e8, 1e8).astype(np.int32)
        cv2.fillConvexPoly(inside, corners, 1, cv2.LINE_8, _BITS)
        visible = inside.view(bool) & (near > self.inverse_depth[roi])
        if not visible.any():
            return
        painted = visible
        if texture is None:
            self.color[roi][visible] = color
        else:
            warp, level = _warp(texture, outline, plane, low)
            size = (near.shape[1], near.shape[0])
            source = _warped(level[0], warp, size, True)
            solid, labels, alpha = (
                None if part is None else _warped(part, warp, size, smooth)
                for part, smooth in zip(level[1:], (True, False, True), strict=True)
            )
            label = texture.label if texture.label is not None else label
            if solid is not None:
                visible &= solid > 100
            if labels is not None:
                label = labels
                visible &= labels != TRANSPARENT
            painted = visible if alpha is None else visible & (alpha > 127)
            cv2.copyTo(source, painted.view(np.uint8), self.color[roi])
        np.copyto(self.inverse_depth[roi], near, where=visible)
        np.copyto(self.label[roi], label, where=visible, casting='unsafe')
        face = self.face_of(_normal(span) if normal is None else normal)
        np.copyto(self.face[roi], face, where=painted, casting='unsafe')


def _inverse_depth(plane: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """1 / depth of a plane over the pixels [low, high): affine in image coordinates."""
    across, down, constant = np.linalg.inv(plane)[2]
    columns = across * (np.arange(low[0], high[0]) + 0.5)
    rows = down * (np.arange(low[1], high[1]) + 0.5) + constant
    return np.add.outer(rows, columns).astype(np.float32)


def _warp(
    texture: Texture, outline: np.ndarray, plane: np.ndarray, low: np.ndarray
) -> tuple[np.ndarray, Level]:
    """Homography from texels to pixels of the region at `low`, and the level of the texture."""
    across, down = outline.max(0) - outline.min(0)
    level = texture.level(width=across, height=down)
    height, width = level[0].shape[:2]
    texel = np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1.0]])
    shift = np.array([[1, 0, -low[0] - 0.5], [0, 1, -low[1] - 0.5], [0, 0, 1.0]])
    return shift @ plane @ texel, level


def _warped(
    image: np.ndarray, warp: np.ndarray, size: tuple[int, int], smooth: bool
) -> np.ndarray:
    """`size`: (width, height), as cv2 takes it."""
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    return cv2.warpPerspective(image, warp, size, flags=how, borderMode=cv2.BORDER_REPLICATE)


def _normal(span: np.ndarray) -> np.ndarray:
    return unit_normal(span[:, 0], span[:, 1])


def unit_normal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Unit vector along a x b; much faster than `np.cross` for single vectors."""
    (ax, ay, az), (bx, by, bz) = a, b
    normal = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    length = sqrt(sum(n * n for n in normal)) + 1e-12
    return np.array([n / length for n in normal])


def _outline(points: np.ndarray, matrix: np.ndarray) -> np.ndarray | None:
    """Projected corners (m, 2) of the part beyond the near plane; None if there is no part."""
    shown = points @ matrix[:, :3].T + matrix[:, 3]
    if shown[:, 2].max() <= NEAR:
        return None
    if shown[:, 2].min() < NEAR:
        clipped = []
        for a, b in zip(shown, np.roll(shown, -1, 0), strict=True):
            if a[2] >= NEAR:
                clipped.append(a)
            if (a[2] < NEAR) != (b[2] < NEAR):
                clipped.append(a + (b - a) * (NEAR - a[2]) / (b[2] - a[2]))
        shown = np.array(clipped)
    return shown[:, :2] / shown[:, 2:]
