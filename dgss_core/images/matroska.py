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


class Structure:
    """Follows the elements of a file, as far as it is asked."""

    def __init__(self, path: Path) -> None:
        self._at = self._end = 0
        try:
            with path.open('rb') as file:
                self._data: bytes | mmap.mmap = mmap.mmap(
                    file.fileno(), 0, access=mmap.ACCESS_READ
                )
        except (OSError, ValueError):  # A pipe, or an empty file.
            self._data = b''

    def is_cut(self) -> bool:
        """Whether an element reaches behind the end of the file."""
        self.is_broken_before(len(self._data))
        return max(self._at, self._end) > len(self._data)

    def is_broken_before(self, place: int) -> bool:
        """Whether no element began where one should, since the last question up to `place`."""
        is_broken = False
        while self._at < min(place, len(self._data)):
            element, size, start = _element(self._data, self._at)
            if element in PARENTS:
                self._at = start
                # One of unknown size holds something too.
                self._end = max(self._end, start + (1 if size is None else size))
            elif size is not None and (element in KNOWN or _is_element(self._data, start + size)):
                self._at = start + size
            elif start >= len(self._data):  # A part of its name or its size is missing.
                self._at = len(self._data) + 1
            else:
                is_broken = True
                cluster = self._data.find(CLUSTER, self._at)
                self._at = cluster if cluster >= 0 else len(self._data)
        return is_broken


def _is_element(data: bytes | mmap.mmap, at: int) -> bool:
    """Whether an element that is known begins there, after one that is not."""
    return at < len(data) and _element(data, at)[0] in KNOWN | PARENTS


def _element(data: bytes | mmap.mmap, at: int) -> tuple[bytes, int | None, int]:
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
