"""The part of a camera image that the network sees, and the way back to the camera's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from dgss_core.errors import DgssError

ROTATIONS = (0, 90, 180, 270)
_TURNS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


@dataclass(frozen=True)
class View:
    """`rotation`: degrees clockwise (0, 90, 180 or 270) that turn the camera's image upright.

    `roi`: the region of interest as x, y, width and height in the camera's own pixels, before
    it is turned; None for the whole image.
    """

    rotation: int = 0
    roi: tuple[int, int, int, int] | None = None

    def region(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The region within an image of this size; DgssError when the image does not hold it."""
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

        The result is a view where nothing has to be turned. Raises DgssError as `region` does.
        """
        x, y, w, h = self.region(image.shape[1], image.shape[0])
        part = image[y : y + h, x : x + w]
        return cv2.rotate(part, _TURNS[self.rotation]) if self.rotation else part

    def turn_back(self, upright: np.ndarray) -> np.ndarray:
        """Turn what lies upright as the camera's own image lies."""
        return cv2.rotate(upright, _TURNS[360 - self.rotation]) if self.rotation else upright

    def restore(self, upright: np.ndarray, fill: int, out: np.ndarray) -> None:
        """Lay a map of the upright region, (H, W) of any size, over the camera's pixels, `out`.

        It is resized to the region by the nearest value, with `fill` outside the region.
        """
        height, width = out.shape
        x, y, w, h = self.region(width, height)
        if (w, h) != (width, height):
            out.fill(fill)
        nearest(self.turn_back(upright), w, h, out[y : y + h, x : x + w])


def nearest(
    plane: np.ndarray, width: int, height: int, out: np.ndarray | None = None
) -> np.ndarray:
    """Resize uint8 (H, W) by the nearest value, as OpenCV.

    The result is `out` where that is given; else the array itself at its own size.
    """
    twice = 2 * plane.shape[1] == width
    if not twice and plane.shape[1] != width:
        plane = cv2.resize(plane, (width, plane.shape[0]), interpolation=cv2.INTER_NEAREST)
    if plane.shape[0] != height:
        # Rows that are alike are copied, not found again. They all exist; numpy would check that
        # on a copy of `out`.
        rows = _nearest_rows(plane.shape[0], height)
        plane = plane.take(rows, 0, None if twice else out, 'clip')
    if twice:  # as the two channels of half as many pixels, in a tenth of the time
        out = np.empty((height, width), np.uint8) if out is None else out
        cv2.merge([plane, plane], out.reshape(height, -1, 2))
        return out
    if out is None or plane is out:
        return plane
    np.copyto(out, plane)
    return out


@lru_cache(maxsize=32)
def _nearest_rows(given: int, wanted: int) -> np.ndarray:
    """Which of the `given` rows each of the `wanted` is nearest to."""
    rows = np.arange(given, dtype=np.int32)[:, np.newaxis]
    found = cv2.resize(rows, (1, wanted), interpolation=cv2.INTER_NEAREST)
    return found[:, 0].astype(np.intp)
