"""A rotated or cut view, and the way back to the camera image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dgss_core.errors import DgssError
from dgss_core.images.view import ROTATIONS, View, nearest

IMAGE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
ROIS = [None, (0, 0, 8, 6), (2, 1, 5, 4), (7, 5, 1, 1)]


def restored(view: View, upright: np.ndarray, *, width: int, height: int, fill: int) -> np.ndarray:
    out = np.full((height, width), 77, np.uint8)
    view.restore(upright, fill, out)
    return out


@pytest.mark.parametrize('rotation', ROTATIONS)
@pytest.mark.parametrize('roi', ROIS)
def test_restore_inverts_apply(rotation: int, roi) -> None:
    view = View(rotation, roi)
    seen = view.apply(IMAGE)
    back = restored(view, np.ascontiguousarray(seen[..., 0]), width=8, height=6, fill=255)
    x, y, w, h = roi or (0, 0, 8, 6)
    expected = np.full((6, 8), 255, np.uint8)
    expected[y : y + h, x : x + w] = IMAGE[y : y + h, x : x + w, 0]
    np.testing.assert_array_equal(back, expected)
    assert seen.shape[:2] == ((w, h) if rotation in (90, 270) else (h, w))


def test_the_rotation_is_clockwise() -> None:
    """The top row of the image becomes the right column."""
    np.testing.assert_array_equal(View(90).apply(IMAGE)[:, -1], IMAGE[0])
    np.testing.assert_array_equal(View(270).apply(IMAGE)[:, 0], IMAGE[0][::-1])


def test_a_map_of_another_size_is_resized_to_the_region() -> None:
    coarse = np.array([[1, 2]], np.uint8)
    whole = restored(View(0, (2, 0, 4, 2)), coarse, width=8, height=3, fill=9)
    expected = [[9, 9, 1, 1, 2, 2, 9, 9]] * 2 + [[9] * 8]
    np.testing.assert_array_equal(whole, expected)
    turned = restored(View(90, (2, 0, 4, 2)), coarse, width=8, height=3, fill=9)
    # Upright, 1 is on the left; in the camera image it is at the bottom.
    expected = [[9, 9, 2, 2, 2, 2, 9, 9], [9, 9, 1, 1, 1, 1, 9, 9], [9] * 8]
    np.testing.assert_array_equal(turned, expected)


@pytest.mark.parametrize('roi', [(0, 0, 9, 6), (5, 0, 4, 6), (0, 5, 8, 2)])
def test_a_region_outside_the_image_is_refused(roi) -> None:
    with pytest.raises(DgssError, match='does not lie within the 8x6 image'):
        View(0, roi).apply(IMAGE)


@pytest.mark.parametrize('size', [(8, 6), (16, 12), (1, 1), (5, 7), (13, 3), (640, 361)])
def test_the_nearest_value_is_that_of_opencv(size: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).integers(0, 256, (6, 8), np.uint8)
    expected = cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST_EXACT)
    width, height = size
    np.testing.assert_array_equal(nearest(plane, width=width, height=height), expected)
    for given in (plane, np.dstack([plane] * 3)[..., 1]):  # also if its pixels are not contiguous
        around = np.full((size[1] + 2, size[0] + 5), 77, np.uint8)
        out = around[1:-1, 3:-2]
        assert nearest(given, width=width, height=height, out=out) is out
        np.testing.assert_array_equal(out, expected)
        assert (around == 77).sum() == around.size - out.size + (expected == 77).sum()


@pytest.mark.parametrize(('given', 'wanted'), [(448, 1080), (640, 1000), (7, 3), (640, 1920)])
def test_a_mask_comes_back_where_the_image_was(given: int, wanted: int) -> None:
    """Each pixel gets the value of the cell that its centre lies in."""
    plane = (np.arange(given) % 256).astype(np.uint8)
    centres = (np.arange(wanted) + 0.5) * given / wanted
    for found in (
        nearest(plane[None], width=wanted, height=1)[0],
        nearest(plane[:, None], width=1, height=wanted)[:, 0],
    ):
        # OpenCV computes in fixed point: at a tie it may take either cell.
        sure = np.abs(centres - np.rint(centres)) > 0.01
        expected = plane[np.floor(centres).astype(int)]
        np.testing.assert_array_equal(found[sure], expected[sure])
