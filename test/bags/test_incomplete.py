"""What a bag promises is compared with what comes: the rest is read, and what is missing told."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from foreign_bags import TOPIC, image, images, mcap, metadata, packed, sqlite
from mcap.writer import CompressionType

from dgss_core.bags import bag_info, read_messages
from dgss_core.cli import main
from dgss_core.errors import DgssError, IncompleteError
from dgss_core.inputs import read_frames

END = b'\x0f\x04\0\0\0\0\0\0\0'
"""The record behind the data of an mcap file; a summary follows."""
NONE, ZSTD, LZ4 = CompressionType.NONE, CompressionType.ZSTD, CompressionType.LZ4


def read(path: Path) -> tuple[list[int], list[DgssError]]:
    """The numbers of the pictures, and what was told."""
    told: list[DgssError] = []
    frames = read_frames(path, on_error=lambda _, error: told.append(error))
    return [int(frame.image[0, 0, 0]) for frame in frames], told


@pytest.mark.parametrize('compression', [NONE, ZSTD, LZ4], ids=str)
@pytest.mark.parametrize('chunk_size', [200, 10**6])
def test_the_whole_part_of_a_recording_that_was_cut_off_is_read(
    compression: CompressionType, chunk_size: int, tmp_path: Path
) -> None:
    whole = mcap(
        tmp_path / 'whole.mcap', images(side=40), compression=compression, chunk_size=chunk_size
    ).read_bytes()
    path = tmp_path / 'cut.mcap'
    counts = []
    end = whole.index(END)
    for share in (0.3, 0.6, 1.0):
        path.write_bytes(whole[: int(share * end)])
        try:
            found, told = read(path)
        except DgssError as error:
            # Nothing can be unpacked of a block of zstd or lz4 that is not whole.
            found, told = [], [error]
        assert found == [*range(len(found))]
        assert 'cut.mcap was cut off while it was recorded or copied' in str(told[0])
        assert 'record it again' not in str(told[0])
        counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[-1] == 6
    if compression is NONE or chunk_size == 200:
        assert 0 < counts[0] < counts[1] < 6


def test_a_packed_recording_that_was_cut_off_is_read(tmp_path: Path) -> None:
    path = packed(mcap(tmp_path / 'a.mcap', images(200, side=40), chunk_size=200))
    path.write_bytes(path.read_bytes()[:-100])
    found, told = read(path)
    assert found
    assert 'was cut off' in str(told[0])


@pytest.mark.parametrize('part', ['topic', 'total', 'file'])
def test_metadata_that_counts_more_is_told(part: str, tmp_path: Path) -> None:
    mcap(tmp_path / 'a_0.mcap')
    others: dict[str, Any] = {'topic': {'message_count': 6}, 'total': {'message_count': 20}}.get(
        part, {'files': [{'path': 'a_0.mcap', 'message_count': 20}]}
    )
    metadata(tmp_path, ['a_0.mcap'], 20 if part == 'topic' else 6, **others)
    found, told = read(tmp_path)
    assert found == [*range(6)]
    (error,) = told
    assert isinstance(error, IncompleteError)
    assert error.missing == (14 if part == 'topic' else 0)
    says = {
        'topic': '6 of 20 messages of /camera/image_raw are there',
        'total': '6 of 20 messages in metadata.yaml are there',
        'file': 'a_0.mcap holds 6 of 20 messages',
    }
    assert says[part] in str(error)
    with pytest.raises(IncompleteError):
        list(read_messages(tmp_path))


def test_statistics_that_count_more_are_told(tmp_path: Path) -> None:
    """A chunk in the middle is damaged: the summary counts it, and the others are read."""
    path = mcap(tmp_path / 'a.mcap', images(side=40), chunk_size=200)
    data = bytearray(path.read_bytes())
    data[data.index(images(side=40)[2][1]) + 200] ^= 1
    path.write_bytes(data)
    found, (error,) = read(path)
    assert found == [0, 1, 3, 4, 5]
    assert isinstance(error, IncompleteError)
    assert error.missing == 1
    assert '5 of 6 messages' in str(error)
    assert 'its checksum is wrong' in str(error)


def test_a_damaged_length_does_not_end_an_indexed_file(tmp_path: Path) -> None:
    path = mcap(tmp_path / 'a.mcap', images(side=40), chunk_size=200)
    data = bytearray(path.read_bytes())
    # The third chunk: its record begins before the two times of its message.
    stamp = images()[2][0].to_bytes(8, 'little') * 2
    at = data.index(stamp) - 8
    data[at : at + 8] = (1 << 60).to_bytes(8, 'little')
    path.write_bytes(data)
    found, (error,) = read(path)
    assert found == [0, 1, 3, 4, 5]
    assert isinstance(error, IncompleteError)
    assert error.missing == 1


def test_the_messages_before_a_damaged_one_in_a_chunk_are_read(tmp_path: Path) -> None:
    path = mcap(tmp_path / 'a.mcap', images(side=40), enable_crcs=False)
    data = bytearray(path.read_bytes())
    # The length before channel, sequence and times of the fourth message.
    at = data.index(images(side=40)[3][1]) - 22 - 8
    data[at : at + 8] = (1 << 60).to_bytes(8, 'little')
    path.write_bytes(data)
    found, (error,) = read(path)
    assert found == [0, 1, 2]
    assert isinstance(error, IncompleteError)
    assert error.missing == 3


def test_a_part_that_is_missing_or_not_named_is_told(tmp_path: Path) -> None:
    sent = images(9)
    for part in range(3):
        mcap(tmp_path / f'a_{part}.mcap', sent[3 * part : 3 * part + 3])
    metadata(tmp_path, ['a_0.mcap', 'a_1.mcap'], 6)
    found, told = read(tmp_path)
    assert found == [*range(6)]
    assert "'a_2.mcap' is not named in metadata.yaml and left out" in str(told[0])
    for part in (1, 2):
        (tmp_path / f'a_{part}.mcap').unlink()
    metadata(tmp_path, ['a_0.mcap', 'a_1.mcap', 'a_2.mcap'], 9)
    found, told = read(tmp_path)
    assert found == [*range(3)]
    assert "'a_1.mcap', 'a_2.mcap' of metadata.yaml is missing" in str(told[0])
    assert '3 of 9 messages' in str(told[0])


def test_a_part_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    mcap(tmp_path / 'a_0.mcap')
    (tmp_path / 'a_1.mcap').write_bytes(b'version https://git-lfs.github.com/spec/v1\n')
    found, told = read(tmp_path)
    assert found == [*range(6)]
    assert 'a_1.mcap is a Git LFS pointer' in str(told[0])


def test_the_rows_of_a_damaged_table_are_read(tmp_path: Path) -> None:
    path = tmp_path / 'a.db3'
    file = sqlite(path, images(100, side=100))
    file.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    file.close()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found, told = read(path)
    assert 10 < len(found) < 90
    assert found == [*range(len(found))]
    assert 'a.db3 is damaged' in str(told[0])


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ("UPDATE messages SET timestamp = 'noon' WHERE id = 3", 'holds 1 message without a time'),
        ('UPDATE messages SET timestamp = -5 WHERE id = 3', 'holds 1 message without a time'),
        ('UPDATE messages SET topic_id = 7 WHERE id = 3', 'holds 1 message without a topic'),
        ('UPDATE messages SET data = NULL WHERE id = 3', 'holds 1 message without data, at '),
        (
            'UPDATE messages SET data = 12 WHERE id = 3',
            'message 3 of a.db3 is not there or no data',
        ),
    ],
)
def test_a_row_that_no_recorder_writes_is_told(change: str, says: str, tmp_path: Path) -> None:
    with sqlite(tmp_path / 'a.db3') as file:
        file.execute(change)
    found, told = read(tmp_path / 'a.db3')
    assert found == [0, 1, 3, 4, 5]
    assert says in str(told[0])
    assert isinstance(file, sqlite3.Connection)
    file.close()


def test_a_message_without_data_is_told_by_both_verbs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite(tmp_path / 'a.db3') as file:
        file.execute('UPDATE messages SET data = NULL WHERE id IN (3, 5)')
        (first,) = file.execute('SELECT timestamp FROM messages WHERE id = 3').fetchone()
    file.close()
    fault = f'holds 2 messages without data, the first at {first} ns; find out'
    assert main(['bag', 'info', str(tmp_path / 'a.db3')]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f'a.db3 {fault}')
    assert main(['segment', str(tmp_path / 'a.db3'), '--output', str(tmp_path / 'out')]) == 1
    error = capsys.readouterr().err
    assert fault in error
    assert 'reindex' not in error
    assert 'copy it again' not in error


def test_a_time_that_is_no_stamp_is_told(tmp_path: Path) -> None:
    late = (1 << 64) - 1
    mcap(tmp_path / 'a.mcap', [*images(2), (late, image(2, 0))])
    found, told = read(tmp_path / 'a.mcap')
    assert found == [0, 1]
    assert f'has the time {late} ns, which is no stamp' in str(told[0])


def test_the_verbs_exit_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = mcap(tmp_path / 'whole.mcap', images(side=40), chunk_size=200).read_bytes()
    (tmp_path / 'cut.mcap').write_bytes(whole[: whole.index(END) - 300])
    assert main(['bag', 'info', str(tmp_path / 'cut.mcap')]) == 1
    assert 'was cut off' in capsys.readouterr().err
    segment = ['segment', str(tmp_path / 'cut.mcap'), '--output', str(tmp_path / 'out')]
    assert main(segment) == 1
    assert 'was cut off' in capsys.readouterr().err
    (tmp_path / 'bag').mkdir()
    (tmp_path / 'bag' / 'a_0.mcap').write_bytes(whole)
    metadata(tmp_path / 'bag', ['a_0.mcap'], 20)
    assert main(['bag', 'info', str(tmp_path / 'bag')]) == 1
    said = capsys.readouterr()
    assert '6 of 20' in said.out
    assert f'6 of 20 messages of {TOPIC} are there' in said.err
    segment = ['segment', str(tmp_path / 'bag'), '--output', str(tmp_path / 'out2')]
    assert main(segment) == 1
    said = capsys.readouterr()
    assert '6 of 20 frames in' in said.out
    assert f'6 of 20 messages of {TOPIC} are there' in said.err


def test_a_recording_that_is_hardly_begun_has_one_fault(tmp_path: Path) -> None:
    (tmp_path / 'a.mcap').write_bytes(b'\x89MCAP0\r\n')
    faults = bag_info(tmp_path / 'a.mcap').faults
    assert faults == (
        'a.mcap was cut off while it was recorded or copied (it ends at byte 8); copy it again',
    )


def test_the_place_of_a_cut_is_told(tmp_path: Path) -> None:
    path = mcap(tmp_path / 'a.mcap', images(side=40))
    path.write_bytes(path.read_bytes()[:8000])
    assert len(read(path)[0]) == 4
    fault = bag_info(path).faults[0]
    assert '(it ends at byte 8000, within what begins at byte' in fault
    assert 'no whole record' not in fault
