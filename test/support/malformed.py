"""Hypothesis strategies for malformed camera messages."""

from __future__ import annotations

import struct
import zlib
from array import array
from functools import cache

import cv2
import numpy as np
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

from dgss_core.images.encodings import ENCODINGS

WIDTH, HEIGHT = 64, 48
FLOATS = ('32FC1', '32FC3', '64FC1')
SIZES = st.sampled_from([0, 1, 2, 3, 47, 48, 63, 65, 16_384, 2**31 - 1, 2**32 - 1])


@st.composite
def images(draw: st.DrawFn) -> Image:
    """An image whose header, step, data or encoding is wrong."""
    encoding = draw(st.sampled_from([*ENCODINGS]))
    # Large enough for every encoding, so that only the drawn fault is wrong.
    step = WIDTH * 8
    message = Image(width=WIDTH, height=HEIGHT, step=step, encoding=encoding)
    message.is_bigendian = draw(st.integers(0, 255))
    length = step * HEIGHT * 3
    fault = draw(st.sampled_from(['step', 'data', 'size', 'encoding', 'floats', 'all']))
    if fault in ('step', 'all'):
        message.step = draw(st.integers(0, WIDTH - 1) | SIZES)
    if fault in ('size', 'all'):
        message.width, message.height = draw(SIZES), draw(SIZES)
    if fault in ('encoding', 'all'):
        message.encoding = draw(st.text(max_size=12) | st.sampled_from(['', 'RGB8', 'bgr8; jpeg']))
    if fault == 'floats':
        message.encoding = draw(st.sampled_from(FLOATS))
        nan = np.full(length // 4, draw(st.sampled_from([np.nan, np.inf, -np.inf])), np.float32)
        message.data = array('B', nan.tobytes())
        return message
    if fault in ('data', 'all'):
        length = draw(st.integers(0, WIDTH * HEIGHT - 1))
    message.data = array('B', [draw(st.integers(0, 255))]) * length
    return message


@st.composite
def compressed_images(draw: st.DrawFn) -> CompressedImage:
    """A file that is truncated, damaged, a decompression bomb, of another format, or no image."""
    file = picture(draw(st.sampled_from(['.jpg', '.png', '.bmp', '.webp', '.tiff', '.pfm'])))
    fault = draw(st.sampled_from(['cut', 'damaged', 'grown', 'bomb', 'noise']))
    if fault == 'cut':
        file = file[: draw(st.integers(0, len(file) - 1))]
    elif fault == 'damaged':
        place = draw(st.integers(0, len(file) - 1))
        file = file[:place] + draw(st.binary(min_size=1, max_size=40)) + file[place + 20 :]
    elif fault == 'grown':
        place = draw(st.integers(0, 40))
        file = file[:place] + draw(st.binary(min_size=1, max_size=40)) + file[place:]
    elif fault == 'bomb':
        width, height = draw(SIZES), draw(SIZES)
        file = png_bomb(width, height, draw(st.sampled_from([0, 1, 4])))
    else:
        file = draw(st.binary(max_size=200))
    return CompressedImage(format=draw(st.text(max_size=12)), data=array('B', file))


def png_bomb(width: int, height: int, inflated_mib: int) -> bytes:
    """Return a PNG whose header has this size and whose data inflates to MiB of zeros."""
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunks = ((b'IHDR', header), (b'IDAT', _zeros(inflated_mib)), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        for kind, data in chunks
    )


@cache
def picture(suffix: str) -> bytes:
    """Return a valid file of a small image; of NaN if the format stores floats."""
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    if suffix in ('.tiff', '.pfm'):
        pixels = np.full((HEIGHT, WIDTH, 3), np.nan, np.float32)
    return cv2.imencode(suffix, pixels)[1].tobytes()


@cache
def _zeros(mib: int) -> bytes:
    return zlib.compress(bytes(mib << 20), 9)
