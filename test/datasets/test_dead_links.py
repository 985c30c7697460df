"""Links whose target is gone: the frames behind them are not lost without a word."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from dgss_core.cli import main
from dgss_core.datasets.layout import load_layout
from dgss_core.datasets.pairs import Pairs
from dgss_core.datasets.storage import Storage
from dgss_core.errors import DgssError
from dgss_core.evaluation.dataset_frames import DatasetFrames
from dgss_core.images.compressed import encode_png

LABEL_SET = """
name: own
labels:
- {id: 0, name: a, color: [1, 2, 3]}
- {id: 1, name: b, color: [4, 5, 6]}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four frames; the images and labels of the last two are links without a target."""
    root = tmp_path / 'root'
    for folder, picture in (('images', np.full((8, 8, 3), 9, np.uint8)), ('labels', np.eye(8))):
        (root / folder).mkdir(parents=True)
        for index in (0, 1):
            data = encode_png(picture.astype(np.uint8))
            (root / folder / f'{index}.png').write_bytes(data)
        for index in (2, 3):
            (root / folder / f'{index}.png').symlink_to(f'/gone/{folder}/{index}.png')
    (tmp_path / 'own.yaml').write_text(LABEL_SET)
    (tmp_path / 'data.yaml').write_text(
        'images: images/{name}.png\nlabels: labels/{name}.png\nlabel_set: own.yaml\n'
    )
    return root


def replace_by_link(path: Path) -> None:
    os.rename(path, path.with_name('away'))
    path.symlink_to(f'/gone/{path.name}')


def test_a_check_names_every_link(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = ['data', 'check', str(root.parent / 'data.yaml'), str(root)]
    check += ['--sheet', str(root.parent / 'sheet.jpg')]
    assert main(check) == 1
    said = capsys.readouterr()
    assert '2 problems' in said.out
    for index in (2, 3):
        path = root / 'images' / f'{index}.png'
        sentence = f"{path} is a link to '/gone/images/{index}.png', which does not exist; "
        assert f'\n{sentence}' in f'\n{said.err}'
    assert said.err.count('images/2.png') == 2


def test_frames_behind_links_are_frames_that_cannot_be_read(root: Path) -> None:
    dataset = Pairs(
        load_layout(root.parent / 'data.yaml'), pickle.loads(pickle.dumps(Storage(root)))
    )
    assert len(dataset) == 4
    assert dataset.fingerprint
    for read in (dataset.image, dataset.labels):
        with pytest.raises(DgssError, match='is a link to'):
            read(2)
    frames = DatasetFrames(dataset)
    assert [index for index, _ in frames.images(range(4))] == [0, 1]
    problems = [(problem.what, problem.frames) for problem in frames.problems]
    assert [names for _, names in problems] == [['2'], ['3']]
    assert 'is a link to' in problems[0][0]


@pytest.mark.parametrize('name', ['images', 'labels'])
def test_a_folder_behind_a_link_is_named(name: str, root: Path) -> None:
    replace_by_link(root / name)
    with pytest.raises(DgssError, match=f"is a link to '/gone/{name}'"):
        Pairs(load_layout(root.parent / 'data.yaml'), root)


def test_a_split_behind_a_link_is_not_taken_for_one_that_is_not_here(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = root.parent / 'data.yaml'
    layout.write_text(
        'images: "{split}/images/{name}.png"\nlabels: "{split}/labels/{name}.png"\n'
        'label_set: own.yaml\nsplits: {train: {}, val: {}}\n'
    )
    (root / 'val').mkdir()
    for name in ('images', 'labels'):
        os.rename(root / name, root / 'val' / name)
    (root / 'train').symlink_to('/gone/train')
    (root / 'notes.txt').symlink_to('/gone/notes.txt')
    with pytest.raises(DgssError, match="is a link to '/gone/train'"):
        Pairs(load_layout(layout), root, 'train')
    assert len(Pairs(load_layout(layout), root, 'val')) == 4
    assert main(['data', 'check', str(layout), str(root), '--sheet', str(root.parent / 's')]) == 2
    assert "is a link to '/gone/train'" in capsys.readouterr().err


def test_a_folder_of_any_depth_behind_a_link_is_named(root: Path) -> None:
    (root.parent / 'data.yaml').write_text(
        'images: "images/{path}.png"\nlabels: "labels/{path}.png"\nlabel_set: own.yaml\n'
        'frame_name: "{path}"\n'
    )
    (root / 'images' / 'a').mkdir()
    (root / 'images' / 'a' / 'b').symlink_to('/gone/b')
    with pytest.raises(DgssError, match="is a link to '/gone/b'"):
        Pairs(load_layout(root.parent / 'data.yaml'), root)


def test_a_zip_or_a_root_behind_a_link_is_named(root: Path) -> None:
    (root / 'more.zip').symlink_to('/gone/more.zip')
    with pytest.raises(DgssError, match=r"is a link to '/gone/more.zip'"):
        Storage(root)
    (root.parent / 'dead').symlink_to('/gone/root')
    for path in (root.parent / 'dead', root.parent / 'dead' / 'below'):
        with pytest.raises(DgssError, match="dead is a link to '/gone/root'"):
            Storage(path)


def test_documents_behind_links_are_named(root: Path) -> None:
    (root.parent / 'd.yaml').symlink_to('/gone/d.yaml')
    with pytest.raises(DgssError, match=r"is a link to '/gone/d.yaml'"):
        load_layout(root.parent / 'd.yaml')
    replace_by_link(root.parent / 'own.yaml')
    with pytest.raises(DgssError, match=r"is a link to '/gone/own.yaml'"):
        load_layout(root.parent / 'data.yaml')
