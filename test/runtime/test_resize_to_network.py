"""Every pixel of a camera image reaches the network."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dgss_core.runtime.segmenter import resize_to_network

HEIGHT, WIDTH = 448, 640
FOUR_BY_THREE = ((1280, 960), (1440, 1080), (1600, 1200), (2592, 1944), (4000, 3000))
SIXTEEN_BY_NINE = ((1366, 768), (1440, 810), (1920, 1080), (2560, 1440), (3840, 2160))


@pytest.mark.parametrize(('width', 'height'), [(1920, 540), (640, 1792), (3840, 500), (2600, 400)])
def test_a_strip_loses_no_column_and_no_row(width: int, height: int) -> None:
    for axis, side in ((1, width), (0, height)):
        for at in (side // 3, side // 3 + 1, side // 3 + 2):
            image = np.zeros((height, width), np.uint8)
            image[(slice(None), at) if axis else at] = 255
            found = resize_to_network(image, height=HEIGHT, width=WIDTH)
            assert found.shape == (HEIGHT, WIDTH)
            assert found.max() >= 10, (axis, at)


def both_sides_together(image: np.ndarray) -> np.ndarray:
    """The input of the embedded bundle when it was verified."""
    while image.shape[1] > 2 * WIDTH and image.shape[0] > 2 * HEIGHT:
        size = image.shape[1] // 2, image.shape[0] // 2
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize(
    'size',
    [*FOUR_BY_THREE, *SIXTEEN_BY_NINE],
)
def test_usual_cameras_keep_their_input(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    found = resize_to_network(image, height=HEIGHT, width=WIDTH)
    np.testing.assert_array_equal(found, both_sides_together(image))
