"""Decode label files to ids, for every kind of PNG that datasets use."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.images.compressed import decode_pixels

SIGNATURE = b'\x89PNG\r\n\x1a\n'
GREY, PALETTE = 0, 3
RED = 2
"""Index of the red channel in the channel order of OpenCV."""


def decode_ids(data: bytes, channel: int | None = None) -> np.ndarray:
    """Decode a label PNG to its stored ids, uint8 (H, W).

    A palette PNG gives its indices, not its colours. `channel` is the channel with the class in a
    colour PNG of 8 or 16 bits, in OpenCV order. Raises DgssError for damaged data, colours
    instead of ids, and ids above 255.
    """
    array, depth = _decode(data)
    if channel is not None and array.ndim == 3:
        array = array[..., channel]
    if array.ndim != 2:
        raise DgssError(
            f'The label image holds colours ({array.shape[2]} channels), not ids; '
            'use the label files of the dataset, not pictures of them.'
        )
    if depth < 8:
        # OpenCV scales grey levels of less than 8 bits to 0..255.
        array = array // (255 // (2**depth - 1))
    if array.dtype != np.uint8:
        if array.max(initial=0) > 255:
            raise DgssError(f'The label image holds the id {array.max()}; ids are 0 to 255.')
        array = array.astype(np.uint8)
    return array


def palette_of(data: bytes) -> np.ndarray | None:
    """RGB palette of a palette PNG, uint8 (N, 3); None for any other file."""
    for kind, start, end in _chunks(data):
        if kind == b'PLTE':
            return np.frombuffer(data[start + 8 : end - 4], np.uint8).reshape(-1, 3)
    return None


def _decode(data: bytes) -> tuple[np.ndarray, int]:
    """The pixels as OpenCV reads them, and the bits of a palette index (8 otherwise)."""
    depth = 8
    if data[:8] == SIGNATURE and len(data) > 25 and data[25] == PALETTE:
        depth = data[24]
        data = _declared_grey(data)
    try:
        return decode_pixels(data, cv2.IMREAD_UNCHANGED), depth
    except DgssError as error:
        raise DgssError(
            f'The label image is damaged or no image at all; copy it again. {error}'
        ) from error


def _declared_grey(data: bytes) -> bytes:
    """A palette PNG as a grey PNG of its indices, because OpenCV would apply the palette."""
    header = b'IHDR' + data[16:25] + bytes([GREY]) + data[26:29]
    kept = [SIGNATURE, data[8:12], header, struct.pack('>I', zlib.crc32(header))]
    kept += [data[start:end] for kind, start, end in _chunks(data) if kind in (b'IDAT', b'IEND')]
    return b''.join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of every chunk; its body is from start + 8 to end - 4."""
    at = len(SIGNATURE) if data.startswith(SIGNATURE) else len(data)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], 'big')
        yield data[at + 4 : at + 8], at, end
        at = end
