"""Compressed files in memory: every format, cut, damaged and hostile ones."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgss_core.errors import DgssError
from dgss_core.images.compressed import decode_compressed, encode_jpeg


def scene(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth image with little loss in JPEG; it has no symmetry."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 3, y * 4, 255 - x * 2], axis=-1).astype(np.uint8)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp', '.webp', '.tiff'])
def test_compressed_formats_round_trip(suffix):
    image = scene()
    data = cv2.imencode(suffix, image[..., ::-1])[1].tobytes()
    back = decode_compressed(data)
    assert back.shape == image.shape
    tolerance = 0 if suffix in ('.png', '.bmp', '.tiff') else 6
    assert np.abs(back.astype(int) - image).mean() <= tolerance
    with pytest.raises(DgssError, match='64x48'):
        decode_compressed(data, max_pixels=64 * 48 - 1)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp', '.webp', '.tiff'])
@pytest.mark.parametrize('share', [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_cut_file_is_refused(suffix, share):
    data = cv2.imencode(suffix, scene())[1].tobytes()
    with pytest.raises(DgssError, match=r'cut short|header|neither|empty'):
        decode_compressed(data[: int(len(data) * share)])


def test_jpeg_with_bytes_after_its_end_is_read():
    data = encode_jpeg(scene()) + bytes(64)
    assert decode_compressed(data).shape == (48, 64, 3)


def test_a_bomb_is_refused_by_its_header():
    """A PNG of a few bytes with a header of 60000x60000 pixels (11 GB decoded)."""
    header = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b'IHDR' + header
    png = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + chunk
    png += struct.pack('>I', zlib.crc32(chunk))
    with pytest.raises(DgssError, match='60000x60000'):
        decode_compressed(png)


@given(
    prefix=st.sampled_from(
        [
            b'',
            b'\xff\xd8\xff',
            b'\x89PNG\r\n\x1a\n',
            b'BM',
            b'RIFF1234WEBPVP8X',
            b'II*\0\x08\0\0\0',
        ]
    ),
    tail=st.binary(max_size=80),
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_give_an_image_or_a_dgss_error(prefix, tail):
    try:
        image = decode_compressed(prefix + tail, max_pixels=1 << 16)
    except DgssError:
        return
    assert image.ndim == 3


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_gives_an_image_or_a_dgss_error(data):
    suffix = data.draw(st.sampled_from(['.jpg', '.png', '.bmp', '.webp', '.tiff']))
    content = bytearray(cv2.imencode(suffix, scene(12, 16))[1].tobytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = decode_compressed(bytes(content), max_pixels=1 << 20)
    except DgssError:
        return
    assert image.ndim == 3
