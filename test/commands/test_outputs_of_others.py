"""Commands replace their own earlier output only."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_training import write_frames

from dgss_core.cli import main
from dgss_core.commands import data, generate
from dgss_core.commands.convert import convert_file
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet


def refused(capsys: pytest.CaptureFixture, path: Path, command: list[object]) -> str:
    """Run a command that must fail and leave `path` as it is; returns its sentence."""
    before = path.read_bytes()
    assert main([str(argument) for argument in command]) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert path.read_bytes() == before
    return error


def test_mined_styles_replace_only_a_style_bank(tmp_path: Path, capsys) -> None:
    path = tmp_path / 'model.safetensors'
    command = ['mine-styles', '--dataset', 'gta5', '--output', path]
    save_file({'weights': np.zeros(3)}, path, {'schema': 'mine'})
    assert 'is not a style bank (it has another schema)' in refused(capsys, path, command)
    path.write_text('dear')
    assert 'is not a style bank' in refused(capsys, path, command)


def test_a_conversion_replaces_only_a_checkpoint(tmp_path: Path, capsys) -> None:
    source, output = tmp_path / 'published.pth', tmp_path / 'model.safetensors'
    source.write_text('published')
    command = ['convert', source, '--system', 'famix-rn50', '--output', output, '--overwrite']
    save_file({'weights': np.zeros(3)}, output)
    assert 'is not a checkpoint of dgss' in refused(capsys, output, command)
    output.unlink()
    described = output.with_suffix('.json')
    for content in ('{"hidden_size": 768}', 'dear', '[1]'):
        described.write_text(content)
        assert 'is not the metadata of a checkpoint' in refused(capsys, described, command)
    described.unlink()
    save_file({'weights': np.zeros(3)}, output)
    with pytest.raises(DgssError, match='which must stay'):
        convert_file(output, 'famix-rn50', output, None, LabelSet.load('cityscapes19'), True)


def test_a_check_replaces_only_its_own_sheet_and_list(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    description = write_frames(tmp_path, 2)
    command = ['data', 'check', description, tmp_path / 'frames', '--good', 'good.txt']
    for _ in range(2):
        assert main([str(argument) for argument in command]) == 0
    assert cv2.imread('sheet.jpg') is not None
    assert data.MARK in Path('sheet.jpg').read_bytes()[:40]
    capsys.readouterr()
    Path('good.txt').write_text('milk\nbread\n')
    error = refused(capsys, Path('good.txt'), command)
    assert "is not a list of frames of this dataset (it holds 'milk')" in error
    Path('good.txt').unlink()
    cv2.imwrite('sheet.jpg', np.zeros((8, 8, 3), np.uint8))
    assert 'is not a sheet of dgss data check' in refused(capsys, Path('sheet.jpg'), command)
    image = tmp_path / 'frames' / 'images' / '0.png'
    assert 'is not a sheet' in refused(capsys, image, [*command[:4], '--sheet', image])


def test_generated_labels_replace_no_labels_of_others(tmp_path: Path, capsys) -> None:
    frames = tmp_path / 'frames'
    write_frames(tmp_path, 1)
    truth = frames / 'labels' / '0.png'
    command = ['generate', 'labels', frames / 'images', '--output', frames]
    assert 'is not from this command' in refused(capsys, truth, command)
    assert not (frames / 'labels.jsonl').exists()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'labels').symlink_to(frames / 'labels')
    (tmp_path / 'out' / 'labels.jsonl').touch()
    command[-1] = tmp_path / 'out'
    assert 'is a link' in refused(capsys, truth, command)
    assert os.listdir(frames / 'labels') == ['0.png']


def test_pictures_beside_a_journal_are_ours(tmp_path: Path) -> None:
    """Also when the first picture was written and the journal has no line yet."""
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / '000000_day.png').touch()
    with pytest.raises(DgssError, match='is not from this command'):
        generate._refuse_others(tmp_path, 'images.jsonl', ('images',))
    generate.Journal(tmp_path / 'images.jsonl', {})
    generate._refuse_others(tmp_path, 'images.jsonl', ('images',))
