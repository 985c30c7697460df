"""The records of mcap files (https://mcap.dev/spec), with bounds, and from damaged files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import IO
from zlib import crc32

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode

from dgss_core.bags.compression import UnpackError, check_length, unpack_chunk, unpack_part

MAGIC = b'\x89MCAP0\r\n'
RECORD = struct.Struct('<BQ')
"""What every record begins with: opcode and length."""
MESSAGE = struct.Struct('<HIQQ')
"""What a message begins with: channel, sequence, time of recording, time of publication."""
CHUNK = struct.Struct('<QQQII')
"""What a chunk begins with: two times, size unpacked, checksum, length of the compression."""
INDEX, ENTRY = struct.Struct('<HI'), 16
"""What the index of the messages in a chunk begins with, and bytes for each of them."""
BROKEN = (McapError, UnpackError, struct.error, ValueError, OverflowError)
"""What reading a damaged record can raise."""


def records_in(file: IO[bytes], length: int) -> Iterator[tuple[int, memoryview]]:
    """Opcode and content of the records in the chunk at the position of `file`.

    Those of a chunk that is cut off end with the last whole one. Raises one of `BROKEN`.
    """
    end = file.tell() + length
    _, _, size, crc, named = CHUNK.unpack(file.read(CHUNK.size))
    compression = bounded(file, min(named, 64)).decode()
    (packed,) = struct.unpack('<Q', file.read(8))
    if packed > end - file.tell():
        data = unpack_part(bounded(file, end - file.tell()), compression, size)
        return records_of(data, is_whole=False)
    data = unpack_chunk(bounded(file, packed), compression, size)
    if crc and crc32(data) != crc:
        raise ValueError('its checksum is wrong')
    return records_of(data)


def records_of(
    data: bytes | memoryview, is_whole: bool = True
) -> Iterator[tuple[int, memoryview]]:
    """Opcode and content of the records in `data`. Raises struct.error or ValueError."""
    view, at = memoryview(data), 0
    while at < len(view):
        if not is_whole and len(view) - at < RECORD.size:
            return
        opcode, length = RECORD.unpack_from(view, at)
        at += RECORD.size
        if length > len(view) - at:
            if is_whole:
                raise ValueError('a record is longer than what holds it')
            return
        yield opcode, view[at : at + length]
        at += length


def bounded(file: IO[bytes], length: int) -> bytes:
    if length < 0:
        raise ValueError('a place is beyond the end')
    check_length(length)
    return file.read(length)


def stream(content: bytes | memoryview) -> ReadDataStream:
    return ReadDataStream(BytesIO(content))


def indexed_messages(file: IO[bytes], place: int) -> int:
    """Messages of a channel in a chunk by their index at `place`. Raises one of `BROKEN`."""
    file.seek(place)
    opcode, _ = RECORD.unpack(file.read(RECORD.size))
    _, size = INDEX.unpack(file.read(INDEX.size))
    if opcode != Opcode.MESSAGE_INDEX:
        raise ValueError('there is no index of messages')
    return size // ENTRY
