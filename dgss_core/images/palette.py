"""Masks as palette PNGs: one byte or less for each pixel, and colours that every viewer shows."""

from __future__ import annotations

import struct
import zlib

import numpy as np

SIGNATURE = b'\x89PNG\r\n\x1a\n'
INDEXED = 3
"""The colour type of a palette in IHDR."""


def encode_palette_png(indices: np.ndarray, palette: np.ndarray) -> bytes:
    """Encode uint8 (H, W), places in `palette`, RGB uint8 (256, 3), as a PNG.

    Only the used part of the palette is written. W3C, "Portable Network Graphics (PNG)
    Specification", 2003: rows are not filtered, as its section 12.8 advises for palettes.
    """
    height, width = indices.shape
    header = struct.pack('>IIBBBBB', width, height, 8, INDEXED, 0, 0, 0)
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = indices
    used = palette[: int(indices.max(initial=0)) + 1]
    return b''.join(
        [
            SIGNATURE,
            _chunk(b'IHDR', header),
            _chunk(b'PLTE', np.ascontiguousarray(used).tobytes()),
            _chunk(b'IDAT', zlib.compress(rows.tobytes())),
            _chunk(b'IEND', b''),
        ]
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))
