"""Bags of other recorders and tools: read whole, or refused with a remedy that fits."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from foreign_bags import LATCHED, TOPIC, Mcap, add_rows, images, mcap, metadata, packed, sqlite
from mcap.writer import CompressionType, IndexType

from dgss_core.bags import (
    bag_info,
    image_topic,
    read_messages,
)
from dgss_core.errors import DgssError
from dgss_core.inputs import read_frames


def values(path: Path) -> list[int]:
    """The numbers of the pictures of a bag, in the order in which they come."""
    return [int(frame.image[0, 0, 0]) for frame in read_frames(path)]


@pytest.mark.parametrize(
    'options',
    [
        {'compression': CompressionType.ZSTD, 'chunk_size': 200},
        {'compression': CompressionType.LZ4, 'chunk_size': 200},
        {'index_types': IndexType.NONE, 'chunk_size': 200},
        {'index_types': IndexType.CHUNK, 'chunk_size': 200},
        {'use_statistics': False, 'chunk_size': 200},
        {'use_chunking': False},
        {'use_chunking': False, 'use_statistics': False, 'repeat_channels': False},
        {'repeat_schemas': False, 'repeat_channels': False, 'chunk_size': 200},
        {'repeat_schemas': False, 'chunk_size': 200},
        {'enable_crcs': False},
        {'profile': ''},
    ],
    ids=str,
)
def test_every_layout_of_mcap_is_read(options: dict[str, Any], tmp_path: Path) -> None:
    path = mcap(tmp_path / 'a.mcap', **options)
    assert values(path) == [0, 1, 2, 3, 4, 5]
    info = bag_info(path)
    assert [(t.name, t.count, t.stored) for t in info.topics] == [(TOPIC, 6, 6)]
    assert (info.duration_ns, info.faults) == (500_000_000, ())


def test_messages_outside_chunks_and_out_of_order_are_read(tmp_path: Path) -> None:
    sent = images()
    sent[1], sent[2], sent[4], sent[5] = sent[2], sent[1], sent[5], sent[4]
    assert sorted(values(mcap(tmp_path / 'a.mcap', sent, use_chunking=False))) == [*range(6)]
    assert values(mcap(tmp_path / 'b.mcap', sent)) == [*range(6)]


def test_rows_that_are_not_in_the_order_of_their_times_are_read(tmp_path: Path) -> None:
    sent = images(9)
    sqlite(tmp_path / 'a.db3', [*sent[1::2], *sent[::2], sent[0]][:9]).close()
    assert values(tmp_path / 'a.db3') == [*range(9)]
    sqlite(tmp_path / 'b.db3', sent[::-1]).close()
    assert values(tmp_path / 'b.db3') == [*range(9)]


def test_metadata_without_qos_finds_its_messages(tmp_path: Path) -> None:
    """Also where the parts of a split bag offer different QoS."""
    parts = images()
    Mcap(tmp_path / 'a_0.mcap').add(parts[:2], qos=LATCHED).close()
    Mcap(tmp_path / 'a_1.mcap').add(parts[2:4]).add(parts[4:], qos=LATCHED).close()
    metadata(tmp_path, ['a_0.mcap', 'a_1.mcap'], 6)
    assert values(tmp_path) == [*range(6)]
    (topic,) = bag_info(tmp_path).topics
    assert (topic.count, topic.latched) == (6, True)


def test_parts_without_metadata_are_read_in_their_order(tmp_path: Path) -> None:
    for part in (10, 2, 1):
        mcap(tmp_path / f'a_{part}.mcap', [images(20)[part]])
    assert values(tmp_path) == [1, 2, 10]


def test_several_recordings_without_metadata_are_named(tmp_path: Path) -> None:
    mcap(tmp_path / 'a_0.mcap')
    for other in ('b_0.mcap', 'a_0.db3'):
        (tmp_path / other).write_bytes((tmp_path / 'a_0.mcap').read_bytes())
        with pytest.raises(DgssError, match=r'several recordings \(.*a_0.*\) and no metadata'):
            bag_info(tmp_path)
        (tmp_path / other).unlink()
    assert values(tmp_path) == [*range(6)]


@pytest.mark.parametrize('listed', [None, 'a_0.mcap', 'a_0.mcap.zstd'])
def test_a_file_that_was_unpacked_by_hand_is_read_once(listed: str | None, tmp_path: Path) -> None:
    data = mcap(tmp_path / 'a_0.mcap').read_bytes()
    packed(tmp_path / 'a_0.mcap')
    (tmp_path / 'a_0.mcap').write_bytes(data)
    if listed:
        metadata(tmp_path, [listed], 6)
    assert values(tmp_path) == [*range(6)]


def test_a_topic_of_two_types_is_read_as_the_images(tmp_path: Path) -> None:
    path = Mcap(tmp_path / 'a.mcap').add(images())
    path.add([(images()[2][0], b'\0\1\0\0\2\0\0\0a\0')], kind='std_msgs/msg/String').close()
    assert values(tmp_path / 'a.mcap') == [*range(6)]


def test_images_of_another_type_on_the_topic_are_told(tmp_path: Path) -> None:
    path = Mcap(tmp_path / 'a.mcap').add(images())
    path.add(images(2), kind='sensor_msgs/msg/CompressedImage').close()
    said: list[str] = []
    frames = read_frames(tmp_path / 'a.mcap', on_error=lambda name, error: said.append(str(error)))
    assert len([*frames]) == 6
    assert '2 messages on /camera/image_raw of type sensor_msgs/msg/CompressedImage' in said[0]


@pytest.mark.parametrize(
    ('listed', 'found'),
    [('old_0.mcap', 'new.mcap'), ('some/folder/a.mcap', 'a.mcap'), ('a.mcap', 'a.mcap.zstd'),
     ('a.mcap.zstd', 'a.mcap'), ('A.MCAP', 'A.MCAP')],
)  # fmt: skip
@pytest.mark.parametrize('identifier', ['mcap', '', 'sqlite3'])
def test_the_file_that_lies_there_is_taken(
    listed: str, found: str, identifier: str, tmp_path: Path
) -> None:
    mcap(tmp_path / found.removesuffix('.zstd'))
    if found.endswith('.zstd'):
        packed(tmp_path / found.removesuffix('.zstd'))
    metadata(tmp_path, [listed], 6, storage_identifier=identifier)
    assert values(tmp_path) == [*range(6)]
    assert values(tmp_path / found) == [*range(6)]


def test_two_files_that_were_renamed_are_named(tmp_path: Path) -> None:
    for name in ('b.mcap', 'c.mcap'):
        mcap(tmp_path / name)
    metadata(tmp_path, ['a.mcap'], 6)
    with pytest.raises(DgssError, match=r"'a\.mcap' of metadata\.yaml is missing.*'b\.mcap', 'c"):
        read_frames(tmp_path)


@pytest.mark.parametrize('has_metadata', [True, False])
def test_messages_that_are_compressed_one_by_one_are_read(
    has_metadata: bool, tmp_path: Path
) -> None:
    mcap(tmp_path / 'a_0.mcap', [(t, zstandard.compress(data)) for t, data in images()])
    if has_metadata:
        options = {'compression_format': 'zstd', 'compression_mode': 'MESSAGE'}
        metadata(tmp_path, ['a_0.mcap'], 6, **options)
    assert values(tmp_path) == [*range(6)]
    assert all(message.data[:1] == b'\0' for message in read_messages(tmp_path / 'a_0.mcap'))


def test_a_compressed_file_is_unpacked_once_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, unpacked = tmp_path / 'bag', tmp_path / 'temporary'
    folder.mkdir()
    unpacked.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(unpacked))
    packed(mcap(folder / 'a_0.mcap'))
    metadata(folder, ['a_0.mcap.zstd'], 6, compression_mode='FILE', compression_format='zstd')
    source = read_frames(folder)
    (copy,) = unpacked.rglob('a_0.mcap')
    before = copy.stat()
    for _ in range(2):
        assert [int(frame.image[0, 0, 0]) for frame in source] == [*range(6)]
    assert copy.stat().st_mtime_ns == before.st_mtime_ns
    assert len([*unpacked.iterdir()]) == 1, 'it was unpacked a second time'
    del source
    assert not [*unpacked.iterdir()]


def test_other_topics_do_not_spoil_a_bag(tmp_path: Path) -> None:
    path = (
        Mcap(tmp_path / 'a.mcap')
        .add(images())
        .add([(1, b'{}')], '/odom', 'odom', 'json', 'jsonschema')
        .add([(2, b'ab')], '/markers', 'foxglove.SceneUpdate', 'protobuf', 'protobuf')
        .close()
    )
    assert values(path) == [*range(6)]
    assert {t.name: t.encoding for t in bag_info(path).topics} == {
        TOPIC: 'cdr',
        '/odom': 'json',
        '/markers': 'protobuf',
    }


@pytest.mark.parametrize(
    ('kind', 'encoding', 'schema', 'profile', 'says'),
    [
        ('sensor_msgs/Image', 'ros1', 'ros1msg', 'ros1', 'ROS 1 messages.*rosbags-convert'),
        ('sensor_msgs/Image', 'cdr', 'ros1msg', 'ros1', 'ROS 1 messages.*rosbags-convert'),
        ('foxglove.RawImage', 'protobuf', 'protobuf', '', "'foxglove.RawImage' in 'protobuf'"),
        ('foxglove.CompressedImage', 'cdr', 'protobuf', '', "in 'protobuf', not as ROS 2"),
        ('sensor_msgs/msg/Image', 'json', 'jsonschema', '', "in 'json', not as ROS 2"),
        ('foxglove_msgs/msg/CompressedVideo', 'cdr', 'ros2msg', 'ros2', 'compressed video'),
        ('ffmpeg_image_transport_msgs/msg/FFMPEGPacket', 'cdr', 'ros2msg', '', 'compressed vid'),
        ('std_msgs/msg/String', 'cdr', 'ros2msg', 'ros2', 'holds no images; give a bag'),
    ],
)
def test_what_else_a_bag_holds_is_named(
    kind: str, encoding: str, schema: str, profile: str, says: str, tmp_path: Path
) -> None:
    made = Mcap(tmp_path / 'a.mcap', profile=profile)
    made.add([(1, b'x')], kind=kind, encoding=encoding, schema=schema).close()
    with pytest.raises(DgssError, match=says):
        image_topic(tmp_path / 'a.mcap')


@pytest.mark.parametrize(
    ('name', 'content', 'says'),
    [
        ('a.mcap', b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
        ('a.db3', b'<!DOCTYPE html><html>', 'an HTML page'),
        ('a.mcap', b'', 'is empty'),
        ('a.bag', b'#ROSBAG V2.0\n', 'a ROS 1 bag; convert it with rosbags-convert'),
        ('a.mcap', b'#ROSBAG V2.0\n', 'a ROS 1 bag; convert it with rosbags-convert'),
        ('a.mcap', bytes(4096), 'never written'),
        ('a.mcap', b'something else', 'neither an mcap nor an SQLite recording'),
        ('a.mcap.zstd', zstandard.compress(b'PK\x03\x04'), 'a zip archive'),
        ('drive.zst', zstandard.compress(b'video'), 'compressed with zstd'),
    ],
)
def test_a_file_that_is_no_recording_is_named(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DgssError, match=says) as caught:
        read_frames(tmp_path / name)
    assert 'reindex' not in str(caught.value)


def test_a_recording_of_another_name_is_read(tmp_path: Path) -> None:
    assert values(mcap(tmp_path / 'recording')) == [*range(6)]
    sqlite(tmp_path / 'a.db3').close()
    assert values((tmp_path / 'a.db3').rename(tmp_path / 'drive.bin')) == [*range(6)]


@pytest.mark.parametrize('merged', [0, 2, 6])
def test_the_log_of_a_killed_recording_is_read(merged: int, tmp_path: Path) -> None:
    """`merged`: of six images, those that had been moved into the .db3."""
    file = sqlite(tmp_path / 'live.db3', images()[:merged])
    if merged:
        file.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    add_rows(file, images()[merged:])
    folder = tmp_path / 'bag'
    folder.mkdir()
    for suffix in ('', '-wal'):
        shutil.copyfile(tmp_path / f'live.db3{suffix}', folder / f'run_0.db3{suffix}')
    file.close()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert values(folder) == [*range(6)]
    assert bag_info(folder).topics[0].count == 6
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_file_whose_log_is_gone_says_so(tmp_path: Path) -> None:
    file = sqlite(tmp_path / 'live.db3')
    shutil.copyfile(tmp_path / 'live.db3', tmp_path / 'run.db3')
    file.close()
    with pytest.raises(DgssError, match=r'no tables of rosbag2; .*run\.db3-wal'):
        bag_info(tmp_path / 'run.db3')


def test_a_transaction_that_was_cut_off_is_named(tmp_path: Path) -> None:
    sqlite(tmp_path / 'a.db3').close()
    (tmp_path / 'a.db3-journal').write_bytes(bytes.fromhex('d9d505f920a163d7') + bytes(504))
    with pytest.raises(DgssError, match=r'amid a transaction, and its -journal'):
        bag_info(tmp_path / 'a.db3')


def test_a_folder_with_other_metadata_is_no_bag(tmp_path: Path) -> None:
    import cv2

    (tmp_path / 'metadata.yaml').write_text('author: me\n')
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((8, 8, 3), np.uint8))
    assert read_frames(tmp_path).kind == 'folder'
