"""Where flat faces lie in the image, for all faces of a frame at once."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

NEAR = 0.6
"""Distance of the near plane in metres."""
BITS = 4
"""Fractional bits of the corners that are filled."""


class Projected(NamedTuple):
    """A face in the image.

    `corners` (m, 2) int32: its outline from the pixel `low`, in 1 / 2**`BITS` pixels. `low`,
    `high`: first pixel (x, y) of its bounding box, and the one behind its last. `size`: width and
    height of the outline in pixels. `plane` (3, 3): a point of the face in its own coordinates
    (along its first side, along its last side, 1) becomes (u d, v d, d) of a pixel (u, v) at depth
    d. `slope`: 1 / depth at a pixel is slope[0] u + slope[1] v + slope[2].
    """

    corners: np.ndarray
    low: list[int]
    high: list[int]
    size: list[float]
    plane: np.ndarray
    slope: list[float]


def project(
    faces: list[np.ndarray], matrix: np.ndarray, *, width: int, height: int
) -> list[Projected | None]:
    """The faces, each (n >= 3, 3) in metres, seen through a camera `matrix`; None for unseen ones.

    A face is unseen outside of the image of `width` x `height` pixels, before the near plane, and
    edge-on.
    """
    found: list[Projected | None] = [None] * len(faces)
    counts = np.array([len(face) for face in faces])
    for count in np.unique(counts):
        of_count = np.flatnonzero(counts == count)
        points = np.array([faces[i] for i in of_count], np.float64)
        for i, face in _projected(points, matrix, (width, height)):
            found[of_count[i]] = face
    return found


def _projected(
    points: np.ndarray, matrix: np.ndarray, size: tuple[int, int]
) -> Iterable[tuple[int, Projected]]:
    """The seen ones of the faces (N, n, 3), each with its index."""
    turn, shift = matrix[:, :3], matrix[:, 3]
    first = points[:, 0]
    spans = np.stack([points[:, 1] - first, points[:, -1] - first], 2)
    planes = np.concatenate([turn @ spans, turn @ first[..., None] + shift[:, None]], 2)
    shown = points @ turn.T + shift
    nearest = shown[..., 2].min(1)
    seen = (np.abs(np.linalg.det(planes)) >= 1e-9) & (shown[..., 2].max(1) > NEAR)
    with np.errstate(divide='ignore', invalid='ignore'):
        outlines = shown[..., :2] / shown[..., 2:]
    cut = {i: _cut(shown[i]) for i in np.flatnonzero(seen & (nearest < NEAR))}
    least, most = outlines.min(1), outlines.max(1)
    for i, outline in cut.items():
        least[i], most[i] = outline.min(0), outline.max(0)
    with np.errstate(invalid='ignore'):
        low = np.maximum(np.floor(least), 0).astype(int)
        high = np.minimum(np.ceil(most) + 1, size).astype(int)
    index = np.flatnonzero(seen & (high > low).all(1))
    extents, planes = (most - least)[index].tolist(), planes[index]
    slopes = np.linalg.inv(planes)[:, 2].tolist()
    corners = _fixed(outlines[index] - low[index, None])
    low, high = low[index].tolist(), high[index].tolist()
    for place, i in enumerate(index.tolist()):
        fixed = _fixed(cut[i] - low[place]) if i in cut else corners[place]
        yield (
            i,
            Projected(
                fixed, low[place], high[place], extents[place], planes[place], slopes[place]
            ),
        )


def _fixed(offsets: np.ndarray) -> np.ndarray:
    with np.errstate(invalid='ignore'):
        return np.clip((offsets - 0.5) * (1 << BITS), -1e8, 1e8).astype(np.int32)


def _cut(shown: np.ndarray) -> np.ndarray:
    """Outline (m, 2) of the part beyond the near plane of a face (n, 3): (u d, v d, d)."""
    clipped = []
    for a, b in zip(shown, np.roll(shown, -1, 0), strict=True):
        if a[2] >= NEAR:
            clipped.append(a)
        if (a[2] < NEAR) != (b[2] < NEAR):
            clipped.append(a + (b - a) * (NEAR - a[2]) / (b[2] - a[2]))
    kept = np.array(clipped)
    return kept[:, :2] / kept[:, 2:]


def unit_normals(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Unit vectors along a x b, of vectors (..., 3)."""
    (ax, ay, az), (bx, by, bz) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    length = np.sqrt(x * x + y * y + z * z) + 1e-12
    return np.stack([x / length, y / length, z / length], -1)
