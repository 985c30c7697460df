"""`dgss engine verify` on frames and labels of the user."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from small_networks import add_higher

from dgss_core.cli import main
from dgss_core.labels import LabelSet
from dgss_core.runtime.bundle import Bundle, ReferenceFrame


def write_frames(folder: Path, frames: list[ReferenceFrame]) -> None:
    for frame in frames:
        for kind, array in (('images', frame.image[..., ::-1]), ('labels', frame.mask)):
            path = folder / kind / frame.condition / f'{frame.name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), array)


def test_the_command_compares_on_frames_and_labels_of_the_user(
    tmp_path: Path, broken: Bundle, capsys: pytest.CaptureFixture
) -> None:
    add_higher(broken, 'fp32')
    write_frames(tmp_path, broken.frames())
    options = ['--frames', str(tmp_path / 'images'), '--labels', str(tmp_path / 'labels')]
    common = ['--backend', 'onnxruntime', '--cache_dir', str(tmp_path / 'cache')]
    code = main(['engine', 'verify', '--bundle', str(broken.folder), *common, *options])
    captured = capsys.readouterr()
    assert code == 2
    assert 'is not the reference: day: ' in captured.err
    for words in ('failed', 'day', 'night', 'total', 'mIoU', '100.0%', 'CPU, fp32 on'):
        assert words in captured.out


def test_labels_of_another_label_set_are_compared_in_it(
    tmp_path: Path, sound: Bundle, capsys: pytest.CaptureFixture
) -> None:
    add_higher(sound, 'fp32')
    write_frames(tmp_path, sound.frames())
    camvid = LabelSet.load('camvid11')
    merge = sound.labels.merge_to(camvid)
    for path in (tmp_path / 'labels').rglob('*.png'):
        cv2.imwrite(str(path), merge[cv2.imread(str(path), cv2.IMREAD_UNCHANGED)])
    command = ['engine', 'verify', '--bundle', str(sound.folder), '--backend', 'onnxruntime']
    command += ['--cache-dir', str(tmp_path / 'cache'), '--label-set', 'camvid11']
    assert main(command) == 2
    assert '--label-set needs --labels' in capsys.readouterr().err
    command += ['--frames', str(tmp_path / 'images'), '--labels', str(tmp_path / 'labels')]
    assert main(command) == 0
    assert '100.0%' in capsys.readouterr().out
    labels = np.full((48, 64), len(camvid), np.uint8)
    cv2.imwrite(str(next((tmp_path / 'labels').rglob('*.png'))), labels)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert 'hold the id 11, which camvid11 does not have; give the --label-set' in error
