"""Bags as other recorders and tools write them, through the writer of the mcap package."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
import zstandard
from mcap.writer import CompressionType, Writer

from dgss_core.bags.interfaces import IMAGE, typestore
from dgss_core.images.frames import FIRST_STAMP_NS

TOPIC = '/camera/image_raw'
PERIOD_NS = 10**8
LATCHED = '- {history: 1, depth: 1, reliability: 1, durability: 1}\n'


def stamps(count: int) -> list[int]:
    return [FIRST_STAMP_NS + index * PERIOD_NS for index in range(count)]


def image(value: int, stamp_ns: int, side: int = 8) -> bytes:
    """The CDR of a grey mono8 image."""
    types = typestore().types
    stamp = types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
    message = types[IMAGE](
        header=types['std_msgs/msg/Header'](stamp=stamp, frame_id='camera'),
        height=side,
        width=side,
        encoding='mono8',
        is_bigendian=0,
        step=side,
        data=np.full(side * side, value, np.uint8),
    )
    return bytes(typestore().serialize_cdr(message, IMAGE))


def images(count: int = 6, side: int = 8) -> list[tuple[int, bytes]]:
    """Times of recording and messages; the value of a picture is its number."""
    return [(stamp, image(index, stamp, side)) for index, stamp in enumerate(stamps(count))]


class Mcap:
    """An mcap file under construction; `options` as those of the writer of mcap."""

    def __init__(self, path: Path, profile: str = 'ros2', **options: Any) -> None:
        self.path = path
        self._file = path.open('wb')
        self._writer = Writer(
            self._file,
            **{'compression': CompressionType.NONE, **options},  # type: ignore[arg-type]
        )
        self._writer.start(profile=profile, library='test')

    def add(
        self,
        messages: Iterable[tuple[int, bytes]],
        topic: str = TOPIC,
        kind: str = IMAGE,
        encoding: str = 'cdr',
        schema: str = 'ros2msg',
        qos: str = '',
    ) -> Mcap:
        channel = self._writer.register_channel(
            topic=topic,
            message_encoding=encoding,
            schema_id=self._writer.register_schema(name=kind, encoding=schema, data=b'x'),
            metadata={'offered_qos_profiles': qos} if qos else {},
        )
        for stamp_ns, data in messages:
            self._writer.add_message(channel, stamp_ns, data, stamp_ns)
        return self

    def close(self) -> Path:
        self._writer.finish()
        self._file.close()
        return self.path


def mcap(path: Path, messages: Sequence[tuple[int, bytes]] | None = None, **options: Any) -> Path:
    """An mcap file of one camera; six images by default."""
    return Mcap(path, **options).add(images() if messages is None else messages).close()


def metadata(
    folder: Path, names: Sequence[str], count: int, *, topic: str = TOPIC, **others: Any
) -> None:
    """Write the metadata.yaml of a bag with one topic, without any QoS."""
    described = {
        'version': 5,
        'storage_identifier': 'mcap',
        'relative_file_paths': [*names],
        'duration': {'nanoseconds': 500_000_000},
        'starting_time': {'nanoseconds_since_epoch': FIRST_STAMP_NS},
        'message_count': count,
        'topics_with_message_count': [
            {
                'topic_metadata': {
                    'name': topic,
                    'type': IMAGE,
                    'serialization_format': 'cdr',
                    'offered_qos_profiles': '',
                },
                'message_count': count,
            }
        ],
        'compression_format': '',
        'compression_mode': '',
        **others,
    }
    text = yaml.safe_dump({'rosbag2_bagfile_information': described})
    (folder / 'metadata.yaml').write_text(text)


def sqlite(path: Path, messages: Sequence[tuple[int, bytes]] | None = None) -> sqlite3.Connection:
    """An open SQLite file of rosbag2, as Foxy writes it, with one camera."""
    file = sqlite3.connect(path, isolation_level=None)
    file.execute('PRAGMA journal_mode = WAL')
    file.execute('PRAGMA wal_autocheckpoint = 0')
    file.executescript(
        'CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT,'
        ' serialization_format TEXT, offered_qos_profiles TEXT);'
        'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER,'
        ' data BLOB); CREATE INDEX timestamp_idx ON messages (timestamp ASC);'
    )
    file.execute('INSERT INTO topics VALUES (1, ?, ?, ?, ?)', (TOPIC, IMAGE, 'cdr', LATCHED))
    add_rows(file, images() if messages is None else messages)
    return file


def add_rows(file: sqlite3.Connection, messages: Iterable[tuple[int, bytes]]) -> None:
    file.executemany('INSERT INTO messages(topic_id, timestamp, data) VALUES (1, ?, ?)', messages)


def packed(path: Path) -> Path:
    """Compress a file with zstd, as rosbag2 does with compression_mode FILE; removes it."""
    target = path.with_name(path.name + '.zstd')
    target.write_bytes(zstandard.compress(path.read_bytes()))
    path.unlink()
    return target
