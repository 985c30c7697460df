"""Palette PNGs, as other programs read them."""

import cv2
import numpy as np
import pytest

from dgss_core.errors import DgssError
from dgss_core.images.label_files import decode_ids, palette_of
from dgss_core.images.palette import encode_palette_png

PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)


def test_every_index_and_its_colour_come_back():
    indices = np.random.default_rng(1).integers(0, 256, (31, 47)).astype(np.uint8)
    data = encode_palette_png(indices, PALETTE)
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(shown, PALETTE[indices])
    np.testing.assert_array_equal(decode_ids(data), indices)


def test_only_the_used_part_of_the_palette_is_written():
    data = encode_palette_png(np.array([[0, 3]], np.uint8), PALETTE)
    np.testing.assert_array_equal(palette_of(data), PALETTE[:4])


def test_a_palette_of_a_part_of_a_colour_is_refused():
    data = encode_palette_png(np.array([[0, 3]], np.uint8), PALETTE)
    start = data.index(b'PLTE')
    damaged = (
        data[: start - 4] + b'\x00\x00\x00\x0b' + data[start : start + 15] + data[start + 16 :]
    )
    with pytest.raises(DgssError, match='palette of the PNG is damaged'):
        palette_of(damaged)


def test_a_palette_png_of_a_mask_is_smaller_than_a_colour_png():
    mask = np.zeros((200, 300), np.uint8)
    mask[40:90, 30:200] = 7
    mask[60:150, 100:290] = 12
    in_colour = cv2.imencode('.png', PALETTE[mask])[1].size
    assert len(encode_palette_png(mask, PALETTE)) < in_colour
