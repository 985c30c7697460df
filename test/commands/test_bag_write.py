"""`dgss bag write` from bags, and from sources that hold less than they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import write_video
from foreign_bags import Mcap, images, mcap, metadata

from dgss_core.bags import bag_info, read_bag
from dgss_core.cli import main
from dgss_core.images.compressed import encode_png
from dgss_core.inputs import read_frames


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


def test_what_is_there_is_written_and_what_is_missing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_video(tmp_path / 'cut.mp4', count=40, options={'movflags': 'faststart'})
    path.write_bytes(path.read_bytes()[:3500])
    assert main(['bag', 'write', str(path), '--output', str(tmp_path / 'bag')]) == 1
    count = len(list(read_frames(tmp_path / 'bag')))
    assert 0 < count < 40
    assert f'cut.mp4 ends after {count} of 40 frames; it is cut short' in capsys.readouterr().err


def test_the_rate_is_heeded_for_a_video_and_refused_for_a_bag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_video(tmp_path / 'a.webm', 'libvpx', 5, times=[0, 100, 2100, 2200, 2300])
    for options, seconds in (([], 2.3), (['--fps', '4'], 1.0)):
        bag = tmp_path / f'bag{seconds}'
        assert main(['bag', 'write', str(path), '--output', str(bag), *options]) == 0
        assert bag_info(bag).duration_ns == round(seconds * 1e9)
    command = ['bag', 'write', str(bag), '--output', str(tmp_path / 'again'), '--fps', '5']
    assert main(command) == 2
    assert 'brings its own stamps' in capsys.readouterr().err


def test_a_bad_image_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'images'
    folder.mkdir()
    data = encode_png(np.zeros((16, 16, 3), np.uint8))
    (folder / '0.png').write_bytes(data)
    (folder / '1.png').write_bytes(data[:40])
    assert main(['bag', 'write', str(folder), '--output', str(tmp_path / 'bag')]) == 1
    assert '1.png cannot be read' in capsys.readouterr().err
    assert len(list(read_frames(tmp_path / 'bag'))) == 1
