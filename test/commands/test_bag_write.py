"""`dgss bag write` of sources that hold less than they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import write_video

from dgss_core.bags import bag_info
from dgss_core.cli import main
from dgss_core.images.compressed import encode_png
from dgss_core.inputs import read_frames


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
    path = write_video(tmp_path / 'a.webm', 'libvpx', 5, times_ms=[0, 100, 2100, 2200, 2300])
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
