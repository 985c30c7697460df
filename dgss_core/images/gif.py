"""The blocks of a GIF, of which FFmpeg takes a picture that is cut off without a word."""

from __future__ import annotations

HEADER = 13
"""Bytes of the header of a file, before its table of colours."""
IMAGE, EXTENSION, END = b',!;'
"""What blocks begin with, the last of which ends the file."""


def is_broken(data: bytes) -> bool:
    """Whether the blocks of a picture, and of the header before the first, are not whole."""
    return _last_block(data) < 0


def has_end(data: bytes) -> bool:
    """Whether the blocks of the last picture lead to the end of the file."""
    return _last_block(data) == END


def _last_block(data: bytes) -> int:
    """What the last block begins with, -1 if it is not whole or no block."""
    at = HEADER + _size_of_colours(data[10]) if data.startswith(b'GIF8') else 0
    kind = 0
    try:
        while at < len(data) and kind != END:
            kind = data[at]
            if kind == IMAGE:
                at += 11 + _size_of_colours(data[at + 9])
            elif kind == EXTENSION:
                at += 2
            elif kind != END:
                return -1
            while kind != END and data[at]:
                at += 1 + data[at]
            at += 1
    except IndexError:
        return -1
    return kind


def _size_of_colours(flags: int) -> int:
    """Bytes of the table that these flags tell of."""
    return 3 << 1 + (flags & 7) if flags & 0x80 else 0
