"""The header of a TIFF as the compressed transport of ROS sends it, read before its pixels."""

from __future__ import annotations

import struct

from dgss_core.errors import DgssError

STARTS = (b'II*\0', b'MM\0*')
WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, TILES, KIND = 256, 257, 258, 259, 277, 322, 339
VALUES = {1: 'B', 3: 'H', 4: 'I'}
"""Types of numbers."""
MOST_VALUES = 4
"""Values of a tag that are read; places of strips, which may be more, are left to the decoder."""
PLAIN = {BITS: {8, 16}, COMPRESSION: {1, 5, 8, 32773, 32946}, SAMPLES: {1, 3, 4}, KIND: {1}}
"""What is read: whole numbers, in strips, as they are or by LZW, Deflate or PackBits."""


def tiff_size(content: memoryview) -> tuple[int, int]:
    """(width, height) of a TIFF in memory, without decoding it.

    Raises DgssError for tiles and for what is not in `PLAIN`, struct.error if it is cut short.
    """
    tags = _tags(content)
    is_plain = all({*tags.get(tag, allowed)} <= allowed for tag, allowed in PLAIN.items())
    if TILES in tags or not is_plain:
        raise DgssError(
            'The compressed image is a TIFF of a kind that is read from files only; send 8 or 16 '
            'bits a sample, in strips, or JPEG or PNG.'
        )
    (width, *_), (height, *_) = tags.get(WIDTH, (0,)), tags.get(HEIGHT, (0,))
    return width, height


def _tags(content: memoryview) -> dict[int, tuple[int, ...]]:
    order = '<' if content[:1] == b'I' else '>'
    (at,) = struct.unpack_from(f'{order}I', content, 4)
    (count,) = struct.unpack_from(f'{order}H', content, at)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(f'{order}HHI', content, entry)
        layout = f'{order}{min(number, MOST_VALUES)}{VALUES.get(kind, "B")}'
        place = entry + 8
        if number * struct.calcsize(layout[:1] + layout[-1]) > 4:
            (place,) = struct.unpack_from(f'{order}I', content, place)
        if kind in VALUES and (tag in PLAIN or tag in (WIDTH, HEIGHT, TILES)):
            tags[tag] = struct.unpack_from(layout, content, place) or (0,)
    return tags
