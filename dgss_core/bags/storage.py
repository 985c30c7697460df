"""The writer of rosbags, with checksums and for paths of any name."""

from __future__ import annotations

import sqlite3
from os import SEEK_END
from pathlib import Path
from zlib import crc32

from rosbags import rosbag2
from rosbags.rosbag2.enums import CompressionMode
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

CRC_OFFSET = 1 + 8 + 3 * 8
"""Bytes before the checksum in a chunk of MCAP: opcode, length, two times and a size."""


class _SqliteWriter(Sqlite3Writer):
    def __init__(self, path: Path, compression: CompressionMode) -> None:
        assert compression == CompressionMode.NONE
        self.path = path / f'{path.name}.db3'
        self.conn = sqlite3.connect(self.path)
        self.conn.executescript(self.SQLITE_SCHEMA)
        self.cursor = self.conn.cursor()


class _McapWriter(McapWriter):
    def close_chunk(self) -> None:
        start, crc = self.bio.tell(), crc32(self.chunk.bio.getbuffer())
        super().close_chunk()
        self.bio.seek(start + CRC_OFFSET)
        self.bio.write(crc.to_bytes(4, 'little'))
        self.bio.seek(0, SEEK_END)


class Writer(rosbag2.Writer):
    """Writes a bag folder."""

    STORAGE_PLUGINS = {  # noqa: RUF012
        rosbag2.StoragePlugin.MCAP: _McapWriter,
        rosbag2.StoragePlugin.SQLITE3: _SqliteWriter,
    }
