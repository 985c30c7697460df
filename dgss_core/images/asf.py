"""Where packets of an ASF or WMV file are damaged; FFmpeg leaves them out without a word."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import IO

FILE_PROPERTIES = bytes.fromhex('a1dcab8c47a9cf118ee400c00c205365')
COUNT, FLAGS, SIZE = 56, 88, 92
"""Offsets of the number of packets, flags and the size of a packet in these properties."""
BROADCAST = 1
"""The flag of a recording whose header was not written to its end: it counts nothing."""
DATA_HEAD = 50
"""Bytes of the data before the first packet."""
HEAD = 3
"""Bytes of a packet that are the same in all."""
SHORTEST = 256
"""Bytes of a packet from which on it is looked at; writers take a thousand or more."""
CORRECTED = 0x80
"""A packet that begins with this bit has data for error correction first."""
MOST_HEADER = 1 << 20


class AsfPackets:
    """Compares the start of each packet with that of the first; all have the same length.

    `length`: that, in bytes; 0 if the file does not tell it.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.length, self._start = path, 0, b''
        self._at = self._end = 0
        with suppress(OSError), path.open('rb') as file:
            self._read_header(file)

    def _read_header(self, file: IO[bytes]) -> None:
        head = file.read(MOST_HEADER)
        header = int.from_bytes(head[16:24], 'little')
        at = head.find(FILE_PROPERTIES, 0, header)
        if at < 0 or header + DATA_HEAD > len(head):
            return
        count, length = (
            int.from_bytes(head[at + place : at + place + size], 'little')
            for place, size in ((COUNT, 8), (SIZE, 4))
        )
        self._at = header + DATA_HEAD
        is_counted = count and not head[at + FLAGS] & BROADCAST
        size = int.from_bytes(head[header + 16 : header + 24], 'little')
        end = self._path.stat().st_size
        if is_counted:
            self._end = self._at + count * length
        else:  # An index may follow the data.
            self._end = min(header + size, end) if size > DATA_HEAD else end
        start = head[self._at : self._at + HEAD]
        if start and start[0] & CORRECTED and length >= SHORTEST:
            self._start, self.length = start, length

    def is_broken_before(self, place: int) -> bool:
        """Whether a packet did not begin as one, since the last question up to `place`."""
        is_broken = False
        with self._path.open('rb') as file:
            while self.length and self._at < min(place, self._end):
                file.seek(self._at)
                is_broken |= file.read(HEAD) != self._start
                self._at += self.length
        return is_broken

    def is_cut(self) -> bool:
        """Whether the file ends before the packets that its header counts."""
        return self._path.stat().st_size < self._end
