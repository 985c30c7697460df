"""Decode and encode image files in memory, as in `sensor_msgs/CompressedImage`."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.images.encodings import MAX_PIXELS, Picture, check_size

ALONE = (0xFF01, *range(0xFFD0, 0xFFD8))
"""JPEG markers without a length: TEM, RST0 to RST7."""

AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
UPRIGHT = cv2.IMREAD_COLOR


def decode_compressed(
    data: Any, max_pixels: int = MAX_PIXELS, *, upright: bool = False
) -> np.ndarray:
    """Decode as `open_compressed` does, to RGB uint8 (H, W, 3)."""
    return open_compressed(data, max_pixels, upright=upright).rgb


def open_compressed(data: Any, max_pixels: int = MAX_PIXELS, *, upright: bool = False) -> Picture:
    """Decode a JPEG, PNG, WebP or BMP file in memory.

    `upright`: turn the image as its EXIF orientation says. In a stream the image stays as it is
    stored, since masks, camera_info and labels belong to the stored pixels.

    The size in the header is checked against `max_pixels` before decoding. Raises DgssError for
    another format, a size that is zero or too large, and data that is damaged or cut short.
    """
    flags = UPRIGHT if upright else AS_STORED
    return Picture(decode_pixels(data, flags, max_pixels), cv2.COLOR_BGR2RGB)


def decode_pixels(data: Any, flags: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode as OpenCV does with `flags`, after a check of the size in the header.

    Raises DgssError as `open_compressed` does.
    """
    buffer = np.frombuffer(data, np.uint8)
    content = buffer.data
    width, height = _compressed_size(content)
    check_size(width=width, height=height, max_pixels=max_pixels)
    image = None
    if not _is_cut_jpeg(content):
        with suppress(cv2.error):
            image = cv2.imdecode(buffer, flags)
    # An orientation in the file may exchange the sides.
    if image is None or sorted(image.shape[:2]) != sorted((height, width)):
        raise DgssError(
            f'The compressed image ({buffer.size} bytes) is damaged or cut short; '
            'send or save it again.'
        )
    return image


def is_turned(data: Any) -> bool:
    """Whether an image file in memory has an EXIF orientation that turns or mirrors it."""
    if b'exif' not in bytes(data).lower():
        return False
    stored, turned = (decode_compressed(data, upright=upright) for upright in (False, True))
    return not np.array_equal(stored, turned)


def encode_jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    """Encode RGB uint8 (H, W, 3) as JPEG of `quality` 0 to 100."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return encode(bgr, '.jpg', [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode RGB uint8 (H, W, 3), or a mask uint8 (H, W), as PNG."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    return encode(bgr, '.png')


def encode(pixels: np.ndarray, suffix: str, options: Sequence[int] = ()) -> bytes:
    """Encode as OpenCV does. Raises DgssError for a size that the format cannot hold."""
    with suppress(cv2.error):
        written, data = cv2.imencode(suffix, pixels, options)
        if written:
            return data.tobytes()
    height, width = pixels.shape[:2]
    raise DgssError(
        f'An image of {width}x{height} cannot be written as {suffix}; cut or scale it first.'
    )


def _compressed_size(content: memoryview) -> tuple[int, int]:
    """(width, height) from the header of an image file in memory, without decoding it."""
    head = bytes(content[:32])
    try:
        if head.startswith(b'\xff\xd8'):
            return _jpeg_size(content)
        if head.startswith(b'\x89PNG\r\n\x1a\n'):
            return struct.unpack_from('>II', head, 16)
        if head.startswith(b'BM'):
            # A header of 12 bytes has sides of 16 bits.
            short = struct.unpack_from('<I', head, 14) == (12,)
            width, height = struct.unpack_from('<HH' if short else '<ii', head, 18)
            return abs(width), abs(height)
        if head.startswith(b'RIFF') and head[8:12] == b'WEBP':
            return _webp_size(head)
    except struct.error as error:
        raise DgssError(
            f'The compressed image ends within its header ({len(content)} bytes); '
            'send or save it again.'
        ) from error
    raise DgssError(
        f'The compressed image starts with {head[:8].hex(" ") or "nothing"} and is neither JPEG, '
        'PNG, WebP nor BMP; send one of these.'
    )


def _jpeg_size(content: memoryview) -> tuple[int, int]:
    offset = 2
    while True:
        (marker,) = struct.unpack_from('>H', content, offset)
        if marker == 0xFFFF:  # 0xFF may be repeated before a marker.
            offset += 1
            continue
        offset += 2
        if marker in ALONE:
            continue
        # SOF0 to SOF15 hold the size; C4, C8 and CC, in the same range, are tables.
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from('>HH', content, offset + 3)
            return width, height
        # At 0xFFDA the pixels start, without a size. What else is no marker, decoders skip.
        if marker < 0xFFC0 or marker == 0xFFDA:
            return 0, 0
        (length,) = struct.unpack_from('>H', content, offset)
        offset += length


def _webp_size(head: bytes) -> tuple[int, int]:
    chunk = head[12:16]
    if chunk == b'VP8X':
        low_w, high_w, low_h, high_h = struct.unpack_from('<HBHB', head, 24)
        return (low_w | high_w << 16) + 1, (low_h | high_h << 16) + 1
    if chunk == b'VP8L':
        (bits,) = struct.unpack_from('<I', head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from('<HH', head, 26)
    return width & 0x3FFF, height & 0x3FFF


def _is_cut_jpeg(content: memoryview) -> bool:
    """Whether the data is a JPEG without an end marker after its pixels.

    Older OpenCV decodes such a file to an image with grey lower rows.
    """
    data = bytes(content)
    if not data.startswith(b'\xff\xd8'):
        return False
    # The end marker of an embedded thumbnail comes before the last start of scan.
    return data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda')
