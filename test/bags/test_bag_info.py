"""What `dgss bag info` tells of a bag: pauses, what is missing, and a type that is not true."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_bags import TOPIC, Mcap, image, images, mcap, metadata, sqlite

from dgss_core.bags import bag_info
from dgss_core.cli import main
from dgss_core.images.frames import FIRST_STAMP_NS
from dgss_core.inputs import read_frames


def test_a_jump_of_a_clock_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sent = images()
    Mcap(tmp_path / 'a.mcap').add([(0, sent[0][1]), *sent[1:]]).close()
    info = bag_info(tmp_path / 'a.mcap')
    assert info.gaps == ((0, sent[1][0]),)
    assert info.topics[0].rate == pytest.approx(12.5)
    assert main(['bag', 'info', str(tmp_path / 'a.mcap')]) == 0
    assert '53.9 years without a message after 0.0 s' in capsys.readouterr().out


def test_fewer_messages_than_promised_are_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mcap(tmp_path / 'a_0.mcap')
    metadata(tmp_path, ['a_0.mcap'], 9)
    assert main(['bag', 'info', str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert f'{tmp_path}: 6 of 9 messages of {TOPIC} are there, the rest was never written' in said


@pytest.mark.parametrize('storage', ['one chunk', 'chunks', 'no chunks', 'sqlite3', 'two files'])
def test_the_longest_pause_is_shown_and_is_no_fault(
    storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = 10**9
    times = [0, 1, 2, 15, 16, 1000, 1001]
    sent = [
        (FIRST_STAMP_NS + at * second, image(i, FIRST_STAMP_NS + at * second))
        for i, at in enumerate(times)
    ]
    if storage == 'sqlite3':
        sqlite(tmp_path / 'a.db3', sent).close()
    elif storage == 'two files':
        mcap(tmp_path / 'a_0.mcap', sent[:5])
        mcap(tmp_path / 'a_1.mcap', sent[5:])
    else:
        size = 1 if storage == 'chunks' else 10**6
        mcap(tmp_path / 'a.mcap', sent, chunk_size=size, use_chunking=storage != 'no chunks')
    info = bag_info(tmp_path)
    assert info.pause == (FIRST_STAMP_NS + 16 * second, 984 * second)
    assert info.gaps == info.faults == ()
    assert main(['bag', 'info', str(tmp_path)]) == 0
    out = ' '.join(capsys.readouterr().out.split())
    assert 'The longest pause is 16.4 min without a message, 16.0 s after the start.' in out


def test_pauses_of_seconds_are_not_shown(tmp_path: Path) -> None:
    assert bag_info(mcap(tmp_path / 'a.mcap')).pause is None


def test_a_type_that_is_not_that_of_the_file_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mcap(tmp_path / 'a_0.mcap')
    metadata(tmp_path, ['a_0.mcap'], 6)
    path = tmp_path / 'metadata.yaml'
    path.write_text(path.read_text().replace('msg/Image', 'msg/CompressedImage'))
    source = read_frames(tmp_path)
    assert len(list(source)) == source.length == 6
    assert f'says that {TOPIC} is sensor_msgs/msg/CompressedImage, which it is not' in source.note
    assert [(t.msgtype, t.count, t.stored) for t in bag_info(tmp_path).topics] == [
        ('sensor_msgs/msg/Image', 6, 6)
    ]
    assert main(['bag', 'info', str(tmp_path)]) == 0
    assert 'the files; they are trusted' in capsys.readouterr().err
    # Of a part that is not there nothing is known: what is promised is still missing.
    path.write_text(path.read_text().replace('message_count: 6', 'message_count: 9'))
    assert '6 of 9 messages' in bag_info(tmp_path).faults[0]
