"""Decode and encode image files in memory, as in `sensor_msgs/CompressedImage`."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import cv2
import numpy as np

from dgss_core.errors import HEAD, DgssError, what_it_is
from dgss_core.images.encodings import (
    DEPTHS,
    ENCODINGS,
    MAX_PIXELS,
    Picture,
    check_size,
    no_colours,
)
from dgss_core.images.jpeg_file import is_broken
from dgss_core.images.tiff import STARTS as TIFF_STARTS
from dgss_core.images.tiff import tiff_size

ALONE = (0xFF01, *range(0xFFD0, 0xFFD8))
"""JPEG markers without a length: TEM, RST0 to RST7."""

STREAMED = {
    'JPEG': (b'\xff\xd8',),
    'PNG': (b'\x89PNG\r\n\x1a\n',),
    'BMP': (b'BM',),
    'WEBP': (b'RIFF',),
}
"""First bytes of the formats in which streams come."""

JPEG_HEAD = 4096
"""Bytes in which the segments of EXIF and of Adobe begin, where a JPEG has them."""

SIGNATURE = STREAMED['PNG'][0]
PNG_CHUNK = 12
"""Bytes of a chunk of a PNG beside its content: length, kind and checksum."""

UNCHANGED = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
RGB = getattr(cv2, 'IMREAD_COLOR_RGB', None)
"""Decodes to RGB at the price of BGR. Older OpenCV decodes to BGR alone."""

PLANE = (
    (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP, cv2.IMWRITE_PNG_COMPRESSION, 1)
    if hasattr(cv2, 'IMWRITE_PNG_FILTER')
    else ()
)
"""The rows of a mask are runs that hardly change to the next row: with these its file takes less
room, and a quarter of the time to read. OpenCV's strategy for runs halves the room, but takes
three times as long to read. OpenCV before 4.12 cannot choose the filter: it is left alone."""


def decode_compressed(
    data: Any, max_pixels: int = MAX_PIXELS, *, upright: bool = False, declared: str = ''
) -> np.ndarray:
    """Decode as `open_compressed` does, to RGB uint8 (H, W, 3)."""
    return open_compressed(data, max_pixels, upright=upright, declared=declared).rgb


def open_compressed(
    data: Any, max_pixels: int = MAX_PIXELS, *, upright: bool = False, declared: str = ''
) -> Picture:
    """Decode a JPEG, PNG, WebP, BMP or plain TIFF file in memory.

    `upright`: turn the image as its EXIF orientation says. In a stream the image stays as it is
    stored, since masks, camera_info and labels belong to the stored pixels. `declared`: the
    `format` of a `sensor_msgs/CompressedImage`, as image_transport writes it ('bgr8; jpeg
    compressed rgb8'): it may name another order of the channels, or a Bayer pattern in which the
    grey pixels are colours.

    The size in the header is checked against `max_pixels` before decoding. Raises DgssError for
    another format, a depth image, a size that is zero or too large, and data that is damaged or
    cut short.
    """
    encoding, _, kind = (part.strip() for part in declared.partition(';'))
    if 'compresseddepth' in declared.lower() or encoding in DEPTHS:
        raise no_colours('compressed image', declared)
    if encoding.startswith('bayer_') and encoding in ENCODINGS:
        pixels = decode_pixels(data, UNCHANGED, max_pixels)
        if pixels.ndim == 2:
            return _from_bayer(pixels, encoding)
    turning = 0 if upright else cv2.IMREAD_IGNORE_ORIENTATION
    swapped = 'compressed rgb' in kind
    if RGB is not None and not swapped:
        return Picture(decode_pixels(data, RGB | turning, max_pixels))
    pixels = decode_pixels(data, cv2.IMREAD_COLOR | turning, max_pixels)
    return Picture(pixels, None if swapped else cv2.COLOR_BGR2RGB)


def _from_bayer(pixels: np.ndarray, encoding: str) -> Picture:
    layout = ENCODINGS[encoding]
    if min(pixels.shape) < layout.smallest:
        raise DgssError(
            f'The image is {pixels.shape[1]}x{pixels.shape[0]}; {encoding} needs at least '
            f'{layout.smallest}x{layout.smallest} pixels.'
        )
    if pixels.dtype != np.uint8:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    assert isinstance(layout.to_rgb, int)
    return Picture(cv2.cvtColor(pixels, layout.to_rgb))


def decode_pixels(data: Any, flags: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode as OpenCV does with `flags`, after a check of the size in the header.

    Raises DgssError as `open_compressed` does.
    """
    buffer = np.frombuffer(data, np.uint8)
    content = buffer.data
    width, height = _compressed_size(content)
    check_size(width=width, height=height, max_pixels=max_pixels)
    image = None
    is_jpeg = content[:2] == STREAMED['JPEG'][0]
    if not (is_broken(content) if is_jpeg else _is_cut_png(content)):
        with suppress(cv2.error):
            image = cv2.imdecode(buffer, flags)
    # An orientation in the file may exchange the sides.
    if image is None or sorted(image.shape[:2]) != sorted((height, width)):
        raise DgssError(
            f'The compressed image ({buffer.size} bytes) is damaged or cut short; '
            'send or save it again.'
        )
    return image


def shareable_jpeg(data: bytes, declared: str = '') -> bytes | None:
    """The data, if it is a JPEG that every viewer shows as `decode_compressed` decodes it.

    None for another format, and for a JPEG that viewers may turn (EXIF) or colour in another way
    (`declared`, as in `open_compressed`, or Adobe's transforms).
    """
    head = bytes(data[:JPEG_HEAD])
    plain = head.startswith(STREAMED['JPEG']) and b'Exif' not in head and b'Adobe' not in head
    usual = 'compressed rgb' not in declared and not declared.startswith('bayer_')
    return bytes(data) if plain and usual else None


def encode_jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    """Encode RGB uint8 (H, W, 3) as JPEG of `quality` 0 to 100."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return encode(bgr, '.jpg', [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode RGB uint8 (H, W, 3), or a mask or confidence uint8 (H, W), as PNG."""
    if pixels.ndim == 3:
        return encode(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), '.png')
    return encode(pixels, '.png', PLANE)


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
        if head.startswith(STREAMED['JPEG']):
            return _jpeg_size(content)
        if head.startswith(STREAMED['PNG']):
            return struct.unpack_from('>II', head, 16)
        if head.startswith(STREAMED['BMP']):
            # A header of 12 bytes has sides of 16 bits.
            short = struct.unpack_from('<I', head, 14) == (12,)
            width, height = struct.unpack_from('<HH' if short else '<ii', head, 18)
            return abs(width), abs(height)
        if head.startswith(STREAMED['WEBP']) and head[8:12] == b'WEBP':
            return _webp_size(head)
        if head.startswith(TIFF_STARTS):
            return tiff_size(content)
    except struct.error as error:
        raise DgssError(
            f'The compressed image ends within its header ({len(content)} bytes); '
            'send or save it again.'
        ) from error
    start = bytes(content[:HEAD])
    if meaning := what_it_is(start, 'h264'):
        raise DgssError(f'The compressed image is {meaning}.')
    if what_it_is(start):
        raise DgssError(
            'The compressed image is part of a H.264 or H.265 video; send JPEG or PNG, or decode '
            'it first.'
        )
    raise DgssError(
        f'The compressed image starts with {head[:8].hex(" ")} and is neither JPEG, '
        'PNG, WebP, BMP nor TIFF; send one of these.'
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


def _is_cut_png(content: memoryview) -> bool:
    """Whether the data is a PNG whose chunks do not end with IEND within it.

    OpenCV makes room for a chunk before it reads it: 4 GiB for a file of a few bytes.
    """
    if content[: len(SIGNATURE)] != SIGNATURE:
        return False
    has_pixels = False
    for kind, _, end in png_chunks(content):
        has_pixels |= kind == b'IDAT'
        if kind == b'IEND' and has_pixels:
            return end > len(content)
    return True


def png_chunks(content: memoryview | bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of every chunk of a PNG; its body is from start + 8 to end - 4.

    The last end may lie outside `content`. What is no PNG has no chunks.
    """
    at = len(SIGNATURE) if content[: len(SIGNATURE)] == SIGNATURE else len(content)
    while at + PNG_CHUNK <= len(content):
        length, kind = struct.unpack_from('>I4s', content, at)
        end = at + PNG_CHUNK + length
        yield kind, at, end
        at = end
