"""Decode label files: ids in every kind of PNG that datasets and tools write, or colours."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np

from dgss_core.errors import HEAD, DgssError
from dgss_core.images.compressed import (
    SIGNATURE,
    STREAMED,
    UNCHANGED,
    decode_compressed,
    decode_pixels,
    png_chunks,
)
from dgss_core.images.stills import format_of, open_rare

GREY, PALETTE = 0, 3
RED = 2
"""Index of the red channel in the channel order of OpenCV."""
Color = tuple[int, int, int]


def decode_ids(
    data: bytes, channel: int | None = None, *, is_described: bool = False
) -> np.ndarray:
    """Decode a label PNG or TIFF to its stored ids, uint8 (H, W).

    A palette gives its indices, not its colours, and grey levels of 1, 2 and 4 bits are the ids
    themselves. `channel` is the channel with the class in a colour PNG of 8 or 16 bits, in OpenCV
    order. `is_described`: by a dataset file, which can say more about colours. Raises DgssError
    for damaged data, JPEG, colours instead of ids, and ids above 255.
    """
    array = _decode(data)
    if channel is not None and array.ndim == 3:
        array = array[..., channel]
    if array.ndim != 2:
        raise _colors_error(array, is_described)
    if array.dtype != np.uint8:
        if array.dtype.kind == 'f':
            raise DgssError('The label image holds fractions, not ids; save whole numbers.')
        if array.max(initial=0) > 255:
            raise DgssError(
                f'The label image holds the id {array.max()}; ids are 0 to 255, and larger ones '
                'are often numbers of single things; use the file of the classes.'
            )
        array = array.astype(np.uint8)
    return array


def decode_colors(data: bytes, ids: Mapping[Color, int]) -> np.ndarray:
    """Decode a label image whose RGB colours mean the classes, to uint8 (H, W).

    `ids`: the id of each colour. Raises DgssError for a colour that is not among them, JPEG, and
    damaged data.
    """
    _refuse_jpeg(data)
    image = decode_compressed(data).astype(np.int32)
    codes = image[..., 0] << 16 | image[..., 1] << 8 | image[..., 2]
    known = np.array(sorted(red << 16 | green << 8 | blue for red, green, blue in ids))
    values = np.array(
        [ids[int(c) >> 16, int(c) >> 8 & 255, int(c) & 255] for c in known], np.uint8
    )
    places = np.searchsorted(known, codes).clip(max=len(known) - 1)
    odd = known[places] != codes
    if odd.any():
        raise DgssError(
            f'{odd.mean():.2%} of the label image have colours that are not in colors, the first '
            f'is {image[odd][0].tolist()}; add it, or save the labels without smoothed edges.'
        )
    return values.astype(np.uint8)[places]


def _colors_error(array: np.ndarray, is_described: bool) -> DgssError:
    channels = array.shape[2]
    channel = ', or write channel: red in the dataset file' if is_described else ''
    colors = ', or give the colour of each class (colors in the dataset file)'
    # A fourth channel is opacity.
    if all(np.array_equal(array[..., 0], array[..., i]) for i in range(1, min(channels, 3))):
        return DgssError(
            f'The label image holds {channels} channels, and its colours are all grey; save it '
            f'with one channel{channel}.'
        )
    return DgssError(
        f'The label image holds colours ({channels} channels), not ids; use label files of ids'
        f'{colors if is_described else ""}.'
    )


def _refuse_jpeg(data: bytes) -> None:
    if data.startswith(STREAMED['JPEG']):
        raise DgssError(
            'The label image is a JPEG, which changes ids at every edge; save labels as PNG.'
        )


def palette_of(data: bytes) -> np.ndarray | None:
    """RGB palette of a palette PNG, uint8 (N, 3); None for any other file.

    Raises DgssError for a damaged palette.
    """
    for kind, start, end in png_chunks(data):
        if kind == b'PLTE':
            colors = data[start + 8 : end - 4]
            if len(colors) % 3:
                raise DgssError(
                    f'The palette of the PNG is damaged: its {len(colors)} bytes are no whole '
                    'number of colours; save the labels again.'
                )
            return np.frombuffer(colors, np.uint8).reshape(-1, 3)
    return None


def _decode(data: bytes) -> np.ndarray:
    """The samples as they are stored, (H, W[, C]), usually uint8 or uint16."""
    _refuse_jpeg(data)
    if format_of(data[:HEAD]) == 'TIFF':
        with open_rare(data, 'TIFF') as image:
            return np.array(image)
    depth = 8
    if data.startswith(SIGNATURE) and len(data) > 28 and data[25] in (GREY, PALETTE):
        depth = data[24]
        data = _declared_grey(data)
    # The labels of a turned image are turned with it or not; their own tag says nothing.
    array = decode_pixels(data, UNCHANGED)
    # OpenCV scales grey levels of less than 8 bits to 0..255.
    return array // (255 // (2**depth - 1)) if depth < 8 else array


def _declared_grey(data: bytes) -> bytes:
    """A palette PNG as a grey PNG of its indices; OpenCV would apply palette and transparency."""
    header = b'IHDR' + data[16:25] + bytes([GREY]) + data[26:29]
    kept = [SIGNATURE, data[8:12], header, struct.pack('>I', zlib.crc32(header))]
    kept += [
        data[start:end] for kind, start, end in png_chunks(data) if kind in (b'IDAT', b'IEND')
    ]
    return b''.join(kept)
