"""`dgss bag write` from bags."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_bags import Mcap, images, mcap, metadata

from dgss_core.bags import read_bag
from dgss_core.cli import main


def values(path: Path) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in read_bag(path)]


def test_one_of_several_cameras_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Mcap(tmp_path / 'two.mcap').add(images(3), '/front/image_raw')
    made.add(images(6)[3:], '/left/image_raw').close()
    command = ['bag', 'write', str(tmp_path / 'two.mcap'), '--output', str(tmp_path / 'bag')]
    assert main(command) == 2
    assert 'name one of /front/image_raw, /left/image_raw' in capsys.readouterr().err
    assert main([*command, '--topic', '/left/image_raw']) == 0
    assert values(tmp_path / 'bag') == [3, 4, 5]


@pytest.mark.parametrize('source', ['synthetic', 'PICTURES'])
def test_a_topic_is_for_bags(source: str, tmp_path: Path) -> None:
    given = source.replace('PICTURES', str(tmp_path))
    command = ['bag', 'write', given, '--output', str(tmp_path / 'bag'), '--topic', '/a']
    assert main(command) == 2


def test_the_whole_part_of_a_bag_is_written_and_the_rest_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'drive').mkdir()
    mcap(tmp_path / 'drive' / 'a_0.mcap')
    metadata(tmp_path / 'drive', ['a_0.mcap'], 20)
    command = ['bag', 'write', str(tmp_path / 'drive'), '--output', str(tmp_path / 'bag')]
    assert main(command) == 1
    assert '6 of 20 messages of /camera/image_raw are there' in capsys.readouterr().err
    assert values(tmp_path / 'bag') == [*range(6)]
