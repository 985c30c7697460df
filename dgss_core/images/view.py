"""The part of a camera image that goes to the network, and the way back to camera pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from dgss_core.errors import DgssError

CACHED_ROWS = 1 << 13
"""Indices of the rows are kept for images up to this height, 64 KiB each."""
ROTATIONS = (0, 90, 180, 270)
_TURNS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


@dataclass(frozen=True)
class View:
    """The region of a camera image to segment, and how to turn it upright.

    `rotation`: degrees clockwise (0, 90, 180 or 270) that turn the camera image upright. `roi`:
    region of interest (x, y, width, height) in camera pixels, before the rotation; None for the
    whole image.
    """

    rotation: int = 0
    roi: tuple[int, int, int, int] | None = None

    def region(self, *, width: int, height: int) -> tuple[int, int, int, int]:
        """The region (x, y, width, height) in an image of this size.

        Raises DgssError if the region does not lie within the image.
        """
        if self.roi is None:
            return 0, 0, width, height
        x, y, w, h = self.roi
        if x + w > width or y + h > height:
            raise DgssError(
                f'The region of interest {list(self.roi)} (x, y, width, height) does not lie '
                f'within the {width}x{height} image; correct the roi of this camera.'
            )
        return self.roi

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Cut the region out of an image (H, W[, C]) and turn it upright.

        Without a rotation the result is a view of `image`. Raises DgssError as `region` does.
        """
        x, y, w, h = self.region(width=image.shape[1], height=image.shape[0])
        part = image[y : y + h, x : x + w]
        return cv2.rotate(part, _TURNS[self.rotation]) if self.rotation else part

    def turn_back(self, upright: np.ndarray) -> np.ndarray:
        """Turn an upright array back to the orientation of the camera image."""
        return cv2.rotate(upright, _TURNS[360 - self.rotation]) if self.rotation else upright

    def restore(self, upright: np.ndarray, fill: int, out: np.ndarray) -> None:
        """Write a map of the upright region, uint8 (H, W) of any size, into `out`.

        `out` has the size of the camera image. The map is turned back and resized to the region
        by the nearest value; pixels outside the region become `fill`.
        """
        height, width = out.shape
        x, y, w, h = self.region(width=width, height=height)
        if (w, h) != (width, height):
            out.fill(fill)
        part = out[y : y + h, x : x + w]
        nearest(self.turn_back(upright), width=w, height=h, out=part)


def nearest(
    plane: np.ndarray, *, width: int, height: int, out: np.ndarray | None = None
) -> np.ndarray:
    """Resize uint8 (H, W) by the nearest value, with the same result as OpenCV.

    The partner of INTER_LINEAR, with which images are resized, is INTER_NEAREST_EXACT: both align
    the corners of the images. INTER_NEAREST moves a mask by up to half a pixel.

    Returns `out` if it is given; otherwise a new array, or `plane` if it has that size already.
    """
    if height < plane.shape[0]:
        # Rows that are dropped are not widened first.
        plane = _pick_rows(plane, height, None)
    doubles = 2 * plane.shape[1] == width
    if not doubles and plane.shape[1] != width:
        plane = cv2.resize(plane, (width, plane.shape[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    if plane.shape[0] != height:
        plane = _pick_rows(plane, height, None if doubles else out)
    if doubles:
        return _double_columns(plane, out)
    if out is None or plane is out:
        return plane
    np.copyto(out, plane)
    return out


def _pick_rows(plane: np.ndarray, height: int, out: np.ndarray | None) -> np.ndarray:
    """Resize to `height` rows, into `out` if it is given."""
    # Index rows instead of resizing them. mode='clip' skips a bounds check that buffers `out`.
    find = _nearest_rows if height <= CACHED_ROWS else _nearest_rows.__wrapped__
    return plane.take(find(plane.shape[0], height), 0, out, 'clip')


def _double_columns(plane: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """Resize to twice the width, into `out` if it is given."""
    height, width = plane.shape
    if out is None:
        out = np.empty((height, 2 * width), np.uint8)
    # Merging two channels takes a tenth of the time of a resize.
    pairs = out.reshape(height, width, 2)
    assert np.shares_memory(pairs, out)
    cv2.merge([plane, plane], pairs)
    return out


@lru_cache(maxsize=32)
def _nearest_rows(given: int, wanted: int) -> np.ndarray:
    """Index of the nearest of `given` rows for each of the `wanted` rows."""
    rows = np.arange(given, dtype=np.int32)[:, np.newaxis]
    found = cv2.resize(rows, (1, wanted), interpolation=cv2.INTER_NEAREST_EXACT)
    return found[:, 0].astype(np.intp)
