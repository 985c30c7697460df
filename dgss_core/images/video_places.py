"""Where in its file each packet of a video lies, and where packets are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dgss_core.images.matroska import Structure

AVI_HEAD = 8
"""Bytes before the data of a chunk."""
AFTER = 8
"""Bytes that are never all zero where another packet begins."""
BOXES = {b'moov', b'moof', b'mdat', b'mfra', b'ftyp', b'styp', b'sidx', b'free', b'skip', b'uuid'}
"""The parts of an MP4 file."""
BOX_HEAD = 8
FRAGMENT = b'moof'


class Places:
    """Looks at the packets of one video, in the order of the file."""

    def __init__(self, path: Path, container: Any, stream: Any) -> None:
        self._path = path
        name = container.format.name
        self._has_boxes = name.startswith('mov')
        self._structure = Structure(path) if name.startswith('matroska') else None
        entries = getattr(stream, 'index_entries', ()) if name == 'avi' else ()
        whole = [entry for entry in entries if entry.size]
        self._index = {e.pos + AVI_HEAD: (n, e.timestamp) for n, e in enumerate(whole)}
        self._last: tuple[int, int] | None = None
        self._offset: int | None = None

    def is_after_hole(self, packet: Any) -> bool:
        """Whether packets just before this one may be left out.

        An AVI has no stamps: those of FFmpeg count what was found, and are corrected here.
        """
        if packet.pos is None:
            return False
        structure = self._structure
        is_after = structure is not None and structure.is_broken_before(packet.pos)
        last, self._last = self._last, self._index.get(packet.pos)
        if self._last is None or packet.pts is None:
            return is_after
        number, stamp = self._last
        if self._offset is None:
            self._offset = packet.pts - stamp
        packet.pts = stamp + self._offset
        return is_after or (last is not None and number > last[0] + 1)

    def is_zero_after(self, packet: Any) -> bool:
        """Whether the file goes on with zeros, which are no fill of the packet then."""
        if packet.pos is None:
            return False
        with self._path.open('rb') as file:
            file.seek(packet.pos + packet.size)
            return file.read(AFTER) == bytes(AFTER)

    def is_cut(self) -> bool:
        """Whether the file ends within a part of it, as of a recording that was not finished."""
        if self._structure is not None:
            return self._structure.is_cut()
        return self._has_boxes and _ends_in_a_box(self._path)


def _ends_in_a_box(path: Path) -> bool:
    """Whether the last box of an MP4 file says that it is longer than the file.

    In a file of fragments, each a box `moof` before its data, also whether the next has begun.
    """
    at, end, name, has_fragments = 0, path.stat().st_size, b'', False
    with path.open('rb') as file:
        while at + BOX_HEAD <= end:
            file.seek(at)
            head = file.read(2 * BOX_HEAD)
            size, name = int.from_bytes(head[:4], 'big'), head[4:8]
            if size == 1:
                size = int.from_bytes(head[8:], 'big')
            if size < BOX_HEAD or name not in BOXES:
                return False  # It lasts to the end, or others have appended something.
            at += size
            has_fragments |= name == FRAGMENT
    return at > end or name == FRAGMENT or (has_fragments and at < end)
