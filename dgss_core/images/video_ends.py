"""Whether a video file ends within a part of it, as of a recording that was not finished."""

from __future__ import annotations

from pathlib import Path

from dgss_core.images import gif

BOXES = {b'moov', b'moof', b'mdat', b'mfra', b'ftyp', b'styp', b'sidx', b'free', b'skip', b'uuid'}
"""The parts of an MP4 file."""
BOX_HEAD = 8
FRAGMENT = b'moof'
SYNC = b'G'
"""The first byte of a packet of MPEG-TS."""
PACKETS = ((188, 0), (192, 4), (204, 0))
"""Lengths of these packets, and bytes before the first one: plain, as of cameras, with parity."""
JPEG_START, JPEG_END = b'\xff\xd8', b'\xff\xd9'
TAIL = 1 << 16
"""Bytes in which the end of the last JPEG is looked for."""


def is_cut(path: Path, kind: str, last: tuple[int, int]) -> bool:
    """`kind`: the name of the format in FFmpeg. `last`: start and end of the last packet."""
    if kind.startswith('mov'):
        return _ends_in_a_box(path)
    if kind == 'mpegts':
        return _ends_in_a_packet(path)
    size = path.stat().st_size
    with path.open('rb') as file:
        if kind == 'gif':
            file.seek(last[0])
            return not gif.has_end(file.read())
        if kind == 'mjpeg':
            file.seek(max(size - TAIL, 0))
            tail = file.read()
            return tail.rfind(JPEG_END) < max(tail.rfind(JPEG_START), 0)
    # Nothing follows the last picture.
    return kind == 'yuv4mpegpipe' and size > last[1]


def _ends_in_a_packet(path: Path) -> bool:
    with path.open('rb') as file:
        head = file.read(5 * PACKETS[-1][0])
    size = path.stat().st_size
    for length, before in PACKETS:
        for start in range(length):
            if head[start::length][:4] == 4 * SYNC:
                return (size - start + before) % length != 0
    return False


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
