from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from miniature import (
    COPIES,
    columns,
    grey,
    gta_palette,
    indexed,
    picture,
    write_folder,
    write_zips,
)

from dgss_core.cli import main
from dgss_core.datasets import build_dataset


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def whole_gta5(root: Path, **changes: bytes) -> Path:
    """A small copy of GTA5; its files are correct except for `changes`."""
    return write_folder(COPIES['gta5']() | changes, root)


def own(tmp_path: Path) -> Path:
    """A dataset file for the miniature of GTA5."""
    path = tmp_path / 'own.yaml'
    path.write_text(
        'label_set: cityscapes19\nimages: images/{name}.png\npalette: true\nsizes: [[8, 6]]\n'
        'labels: {path: "labels/{name}.png", map: cityscapes}\nsplits: {all: {count: 2}}\n'
    )
    return path


@pytest.mark.parametrize('zipped', [False, True])
def test_a_whole_copy(zipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, root = COPIES['gta5'](), tmp_path / 'copy'
    write_zips('gta5', files, root) if zipped else write_folder(files, root)
    command = ['data', 'check', str(own(tmp_path)), str(root), '--good', 'good.txt']
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert 'nothing is wrong' in printed
    assert '8x6: 2' in printed
    sheet = cv2.imread('sheet.jpg')
    assert sheet.shape[1] == 4 * 10 + 3 * 320
    # The sheet shows the red of the images and the colour of the road.
    assert (np.abs(sheet.astype(int) - (0, 0, 200)).max(2) < 8).mean() > 0.1
    assert (np.abs(sheet.astype(int) - (128, 64, 128)).max(2) < 8).sum() > 500
    assert Path('good.txt').read_text().split() == ['00001', '00002']
    assert len(build_dataset(own(tmp_path), root, listing='good.txt')) == 2


@pytest.mark.parametrize(
    ('name', 'data', 'says'),
    [
        ('labels/00002.png', b'', 'is empty; copy, download'),
        ('labels/00002.png', picture(), 'holds colours'),
        (
            'labels/00002.png',
            indexed(columns(7, 35), np.zeros((36, 3))),
            'id 35, which is outside',
        ),
        (
            'labels/00002.png',
            indexed(columns(7, 8)[:4], gta_palette()),
            '8x4 and its image is 8x6',
        ),
        ('labels/00002.png', grey(columns(7, 8)), 'has no palette'),
        ('labels/00002.png', indexed(columns(7, 8), gta_palette()[::-1]), 'paints the id 7'),
        ('images/00002.png', picture()[:50], 'damaged'),
        ('images/00002.png', b'<html>not found</html>', '00002.png'),
    ],
)
def test_bad_files_are_named(
    name: str, data: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = whole_gta5(tmp_path / 'copy', **{name: data})
    assert main(['data', 'check', str(own(tmp_path)), str(root), '--good', 'good.txt']) == 1
    out, problems = capsys.readouterr()
    assert '1 problem\n' in out
    assert name in problems
    assert says in problems
    assert len(problems.splitlines()) == 1
    assert Path('good.txt').read_text().split() == ['00001']


def test_missing_labels_and_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = whole_gta5(tmp_path / 'copy')
    (root / 'labels/00001.png').unlink()
    assert main(['data', 'check', str(own(tmp_path)), str(root)]) == 1
    assert 'images/00001.png has no labels' in capsys.readouterr().err
    assert main(['data', 'check', 'gta5', str(root)]) == 1
    assert 'all has 2 frames, and 24966 were published' in capsys.readouterr().err


def test_label_files_of_no_image_are_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = whole_gta5(tmp_path / 'copy', **{'labels/00 3.png': indexed(columns(7), gta_palette())})
    command = ['data', 'check', str(own(tmp_path)), str(root), '--good', 'good.txt']
    for _ in range(2):
        assert main(command) == 1, 'an earlier list of frames is replaced'
        error = capsys.readouterr().err
        assert '1 label files of all belong to no image, the first is' in error
        assert '00 3.png' in error
    (root / 'images/00 3.png').write_bytes((root / 'images/00001.png').read_bytes())
    for _ in range(2):  # A name with a space is one line of the list.
        main(command)
        assert Path('good.txt').read_text().splitlines() == ['00 3', '00001', '00002']


def test_splits_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(COPIES['bdd100k'](), tmp_path / 'copy')
    assert main(['data', 'check', 'bdd100k', str(root), '--sheet', 'bdd.jpg']) == 1
    out, problems = capsys.readouterr()
    assert 'not here: test' in out
    assert '8x6*' in out
    # BDD100K has training images without labels; only the counts are wrong.
    assert [line.split()[0] for line in problems.splitlines()] == ['train', 'val']
    assert Path('bdd.jpg').is_file()
    assert main(['data', 'check', 'bdd100k', str(root), '--split', 'test']) == 2
    assert 'holds no 10k/' in capsys.readouterr().err


def test_a_sample_reads_only_so_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = whole_gta5(tmp_path / 'copy', **{'labels/00002.png': b''})
    command = ['data', 'check', str(own(tmp_path)), str(root), '--sample', '1']
    assert main(command) == 0
    assert 'nothing is wrong' in capsys.readouterr().out


def test_mistakes_end_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = whole_gta5(tmp_path / 'copy')
    (tmp_path / 'file').touch()
    for arguments, says in (
        (['gta6', str(root)], "no dataset 'gta6'"),
        (['gta5', 'nowhere'], 'There is no nowhere'),
        (['gta5', str(root), '--split', 'val'], "no split 'val'"),
        (['gta5', str(root), '--mapping', 'x'], "no label map 'x'"),
        (['synthetic', str(root)], 'no copy of a dataset'),
        (['gta5', str(root), '--sheet', str(tmp_path / 'file' / 'a.jpg')], 'cannot be written'),
    ):
        assert main(['data', 'check', *arguments]) == 2, arguments
        assert says in capsys.readouterr().err


def test_the_shared_copies(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ('camvid', 'kitti'):
        root = str(shared / 'data' / name)
        assert main(['data', 'check', name, root, '--sample', '12', '--threads', '2']) == 0
        assert 'nothing is wrong' in capsys.readouterr().out
