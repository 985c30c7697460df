"""Where in its file each packet of a video lies, and where packets are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dgss_core.images.asf import AsfPackets
from dgss_core.images.matroska import Structure
from dgss_core.images.video_ends import is_cut

AVI_HEAD = 8
"""Bytes before the data of a chunk."""
BLOCK_HEAD = 12
"""Bytes of a block of Matroska before its data, at most."""
AFTER = 8
"""Bytes that are never all zero where another packet begins."""


class Places:
    """Looks at the packets of one video, in the order of the file."""

    def __init__(self, path: Path, container: Any, stream: Any) -> None:
        self._path = path
        name = container.format.name
        self._format = name
        self._structure = Structure(path) if name.startswith('matroska') else None
        self._packets = AsfPackets(path) if name == 'asf' else None
        self._packet = 0, 0
        self._is_broken_behind = False
        entries = getattr(stream, 'index_entries', ()) if name == 'avi' else ()
        whole = [entry for entry in entries if entry.size]
        self._index = {e.pos + AVI_HEAD: (n, e.timestamp) for n, e in enumerate(whole)}
        self.counted = len(self._index)
        """Packets in the index of an AVI, 0 without one."""
        self.knows_holes = name.startswith(('mov', 'matroska')) or bool(self._index)
        """Whether the file itself leads to every packet."""
        self._last: tuple[int, int] | None = None

    def is_after_hole(self, packet: Any) -> bool:
        """Whether packets just before this one may be left out.

        An AVI has no stamps: those of FFmpeg count what was found, and are corrected here.
        """
        if packet.pos is None:
            return False
        structure = self._structure
        is_after = structure is not None and structure.is_broken_before(packet.pos)
        is_after, self._is_broken_behind = is_after or self._is_broken_behind, False
        last, self._last = self._last, self._index.get(packet.pos)
        if self._last is None or packet.pts is None or packet.dts is None:
            return is_after
        number, stamp = self._last
        # The index counts in the order of decoding, which is not that of B-frames.
        packet.pts += stamp - packet.dts
        return is_after or (last is not None and number > last[0] + 1)

    def lacks_part(self, packet: Any) -> bool:
        """Whether the file is damaged where this packet lies, which may be just behind it."""
        if packet.pos is None:
            return False
        self._packet = packet.pos, packet.pos + packet.size
        if self._packets is not None:
            return self._packets.is_broken_before(self._packet[1] + self._packets.length)
        if self._structure is not None:
            self._is_broken_behind = self._structure.is_broken_before(self._packet[1] + BLOCK_HEAD)
        return self._is_broken_behind

    def is_zero_after(self, packet: Any) -> bool:
        """Whether the file goes on with zeros, which are no fill of the packet then."""
        if packet.pos is None:
            return False
        with self._path.open('rb') as file:
            file.seek(packet.pos + packet.size)
            return file.read(AFTER) == bytes(AFTER)

    def is_cut(self) -> bool:
        """Whether the file ends within a part of it, as of a recording that was not finished."""
        for structure in (self._structure, self._packets):
            if structure is not None:
                return structure.is_cut()
        return is_cut(self._path, self._format, self._packet)
