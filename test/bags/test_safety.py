"""Bags that would run for ever, fill the memory, name code to import, or hold odd names."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zstandard
from foreign_bags import Mcap, images, metadata
from rosbags.rosbag2 import Writer

from dgss_core.bags import (
    Bag,
    bag_info,
    mcap_file,
    read_bag,
    read_messages,
    sqlite_file,
    write_bag,
)
from dgss_core.bags.interfaces import typestore
from dgss_core.bags.recorder import STORAGES
from dgss_core.commands.interrupts import WAITING
from dgss_core.errors import DgssError
from dgss_core.images.frames import FIRST_STAMP_NS, Frame

ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) '
ENDLESS += 'SELECT count(*) AS schema_version FROM n'

COLUMNS = "count(*) AS id, '' AS name, '' AS type, '' AS serialization_format"
ENDLESS_TOPICS = ENDLESS.replace('count(*) AS schema_version', COLUMNS)


def write(path: Path, storage: str = 'sqlite3') -> Path:
    image = np.zeros((8, 8, 3), np.uint8)
    frames = [Frame(f'{i}', image, FIRST_STAMP_NS + i * 10**8, condition='day') for i in range(3)]
    write_bag(path, frames, storage=storage)
    return next(path.glob('*.db3' if storage == 'sqlite3' else '*.mcap'))


@pytest.mark.parametrize(
    ('statements', 'table'),
    [
        (f'DROP TABLE schema; CREATE VIEW schema AS {ENDLESS}', 'schema'),
        (f'CREATE VIEW unused AS {ENDLESS}', 'unused'),
        ('ALTER TABLE messages ADD COLUMN more AS (hex(zeroblob(900000000)))', 'messages'),
        ('DROP TABLE messages; CREATE VIRTUAL TABLE messages USING fts5(topic_id)', 'messages'),
        ('CREATE TRIGGER t AFTER INSERT ON topics BEGIN SELECT 1; END', "'t'"),
    ],
)
def test_a_table_that_computes_is_refused(statements: str, table: str, tmp_path: Path) -> None:
    file = write(tmp_path / 'bag')
    with sqlite3.connect(file) as connection:
        connection.executescript(statements)
    for path in (file, file.parent):
        with pytest.raises(DgssError, match='which is not a plain table') as caught:
            bag_info(path)
        assert table in str(caught.value)


def test_ctrl_c_ends_a_query(tmp_path: Path) -> None:
    file = write(tmp_path / 'bag')
    # Past the check, so that the reader runs the endless query itself.
    program = f"""
import sys
from dgss_core.bags.sqlite_file import SqliteFile
SqliteFile._check_tables = lambda *_: print('opened', flush=True)
from dgss_core.cli import main
sys.exit(main(['bag', 'info', {str(file)!r}]))
"""
    with sqlite3.connect(file) as connection:
        connection.executescript(f'DROP TABLE topics; CREATE VIEW topics AS {ENDLESS_TOPICS}')
    with subprocess.Popen(
        [sys.executable, '-c', program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == 'opened\n'
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        try:
            _, error = process.communicate(timeout=240)
        finally:
            process.kill()
    assert process.returncode == 130
    assert error.removeprefix(f'{WAITING}\n') == 'dgss: interrupted\n'


@pytest.mark.parametrize('content', ['[' * 5000, 'a: &a [*a]', '', 'k: !!python/name:os.system'])
def test_metadata_from_outside_is_bounded(content: str, tmp_path: Path) -> None:
    write(tmp_path / 'bag', 'mcap')
    (tmp_path / 'bag' / 'metadata.yaml').write_text(content)
    with pytest.raises(DgssError, match=r'metadata\.yaml is'):
        bag_info(tmp_path / 'bag')


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_type_in_the_older_spelling_is_read(storage: str, tmp_path: Path) -> None:
    """Older recorders write sensor_msgs/Image for sensor_msgs/msg/Image."""
    write(tmp_path / 'new', storage)
    path = tmp_path / 'old'
    with Writer(path, version=9, storage_plugin=STORAGES[storage]) as writer:
        connections = {}
        for message in read_messages(tmp_path / 'new'):
            if message.topic not in connections:
                definition, _ = typestore().generate_msgdef(message.msgtype, ros_version=2)
                connections[message.topic] = writer.add_connection(
                    message.topic,
                    message.msgtype.replace('/msg/', '/'),
                    msgdef=definition,
                    rihs01=typestore().hash_rihs01(message.msgtype),
                )
            writer.write(connections[message.topic], message.stamp_ns, message.data)
    for bag in (path, next(path.glob('old.*'))):
        assert {t.msgtype for t in bag_info(bag).topics} >= {'sensor_msgs/msg/Image'}
        assert [frame.condition for frame in read_bag(bag)] == ['day'] * 3
        images = read_messages(bag, {'/camera/image_raw'})
        assert {message.msgtype for message in images} == {'sensor_msgs/msg/Image'}


def test_names_of_topics_are_shown_harmlessly(tmp_path: Path) -> None:
    made = Mcap(tmp_path / 'a.mcap')
    for topic in ('/a\x1b[31m', '/b[red]', '/' + 'c' * 5000):
        made.add(images(1), topic)
    made.close()
    with pytest.raises(DgssError) as caught:
        list(read_bag(Bag(tmp_path / 'a.mcap')))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize('suffix', ['.mcap', '.db3', '.mcap.zstd'])
def test_names_of_files_are_shown_harmlessly(suffix: str, tmp_path: Path) -> None:
    name = f'a\x1b[31m\n_0{suffix}'
    for content in (
        b'#ROSBAG V2.0\n',
        mcap_file.MAGIC,
        sqlite_file.MAGIC,
        zstandard.compress(b'x'),
    ):
        (tmp_path / name).write_bytes(content)
        for listed in (name, 'other.mcap'):
            metadata(tmp_path, [listed, 'b.mcap'], 6)
            with pytest.raises(DgssError) as caught:
                list(read_messages(tmp_path))
            assert str(caught.value).isprintable()
