"""Where the structure of a Matroska or WebM file is broken; FFmpeg leaves such a part out."""

from __future__ import annotations

import mmap
from pathlib import Path

CLUSTER = b'\x1f\x43\xb6\x75'
PARENTS = {b'\x18\x53\x80\x67', CLUSTER}
"""Elements that are looked into."""
IN_SEGMENT = '1a45dfa3 114d9b74 1549a966 1654ae6b 1c53bb6b 1941a469 1043a770 1254c367 ec bf'
IN_CLUSTER = 'e7 a7 ab a3 a0 af 5854'
KNOWN = {bytes.fromhex(name) for name in f'{IN_SEGMENT} {IN_CLUSTER}'.split()}


def holes(path: Path) -> list[int]:
    """The places, in bytes from the start, at which no element begins although one should."""
    with path.open('rb') as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # A pipe, or an empty file.
            return []
        with data:
            return _holes(data)


def _holes(data: mmap.mmap) -> list[int]:
    found, at = [], 0
    while at < len(data):
        element, size, start = _element(data, at)
        if element in PARENTS:
            at = start
        elif size is not None and (element in KNOWN or _is_element(data, start + size)):
            at = start + size
        else:
            found.append(at)
            at = data.find(CLUSTER, at)
            if at < 0:
                break
    return found


def _is_element(data: mmap.mmap, at: int) -> bool:
    """Whether an element that is known begins there, after one that is not."""
    return at < len(data) and _element(data, at)[0] in KNOWN | PARENTS


def _element(data: mmap.mmap, at: int) -> tuple[bytes, int | None, int]:
    """Its name, the size of its content, None if that is not known, and where that starts."""
    length = _length(data[at], 4)
    name = data[at : at + length]
    at += length
    length = _length(data[at], 8) if at < len(data) else 0
    if not length:
        return name, None, at
    most = (1 << 7 * length) - 1
    size = int.from_bytes(data[at : at + length], 'big') & most
    return name, None if size == most else size, at + length


def _length(first: int, most: int) -> int:
    """The bytes of a number that begins with this one, 0 if none does."""
    length = 9 - first.bit_length()
    return length if length <= most else 0
