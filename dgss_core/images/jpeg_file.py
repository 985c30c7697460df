"""What proves that a JPEG is damaged, where decoders make a picture with grey or wrong parts."""

from __future__ import annotations

import numpy as np

START, END, SCAN = 0xD8, 0xD9, 0xDA
RESTARTS = range(0xD0, 0xD8)
ALONE = (0x01, START, *RESTARTS)
"""Markers without a length: TEM, SOI, RST0 to RST7."""
BETWEEN = (*range(0xE0, 0xF0), 0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xFE, SCAN)
"""Markers that may follow a scan: segments of programs, tables, number of lines, comments."""
USUAL_CODES = bytes.fromhex('100002010303020403050504040000017d')
"""How the usual first table of codes begins. With others zeros may be pixels: grey, in a scan of
colours alone."""
WHOLE = bytes((0, 63))
"""The first and last wave of a scan that is not progressive."""
ZEROS = bytes(32)
"""With the usual table these would be more than a block of waves at the highest frequencies."""


def is_broken(content: memoryview) -> bool:
    """Whether a JPEG has no end marker after its pixels, or a part of these is not theirs.

    What follows the end marker, for example the video of a motion photo, does not count.
    """
    at, scan, restarts = 2, 0, 0
    has_scan = takes_usual = False
    for place, kind in _markers(content):
        if place < at:
            continue
        if scan and kind in RESTARTS:
            if kind != RESTARTS[restarts % len(RESTARTS)]:
                return True
            restarts += 1
            continue
        if scan and takes_usual and _has_hole(content, scan, place):
            return True
        if kind == END:
            return False
        if has_scan and kind not in BETWEEN:
            return True
        at, scan = place + 2, 0
        if kind not in ALONE:
            at += max(int.from_bytes(content[at : at + 2], 'big'), 2)
        if kind == SCAN:
            has_scan, scan, restarts = True, at, 0
            takes_usual = _takes_usual(bytes(content[place + 4 : at]))
    return True


def _markers(content: memoryview) -> list[tuple[int, int]]:
    """Places and kinds of what can be markers."""
    data = np.frombuffer(content, np.uint8)
    places = np.flatnonzero(data[:-1] == 0xFF)
    kinds = data[places + 1]
    found = (kinds != 0) & (kinds != 0xFF)
    return list(zip(places[found].tolist(), kinds[found].tolist(), strict=True))


def _takes_usual(header: bytes) -> bool:
    """Whether a scan of whole blocks takes the first table of codes for one of its components."""
    count = header[0] if header else 0
    tables, waves = header[2 : 1 + 2 * count : 2], header[1 + 2 * count : 3 + 2 * count]
    return waves == WHOLE and any(table & 0x0F == 0 for table in tables)


def _has_hole(content: memoryview, start: int, end: int) -> bool:
    # Some encoders fill up to the end marker.
    pixels = bytes(content[start:end]).rstrip(b'\0')
    return ZEROS in pixels and USUAL_CODES in bytes(content[:start])
