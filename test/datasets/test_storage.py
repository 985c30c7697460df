"""Folders with loops of links and special files, and zips that hold more than they weigh."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from dgss_core.datasets import build_dataset
from dgss_core.datasets.storage import LARGEST_FILE, MOST_VISITS, Storage
from dgss_core.errors import DgssError


def frames(folder: Path) -> Path:
    """A dataset of one frame in `folder`, and its description beside it."""
    folder.mkdir(parents=True)
    for name in ('a.jpg', 'a.png'):
        cv2.imwrite(str(folder / name), np.zeros((8, 8), np.uint8))
    description = folder.with_suffix('.yaml')
    description.write_text('{label_set: cityscapes19, images: "{name}.jpg", labels: "{name}.png"}')
    return description


@pytest.mark.parametrize('links', [1, 2, 5])
def test_links_that_lead_back_end(links: int, tmp_path: Path) -> None:
    root = tmp_path / 'data'
    description = frames(root)
    for number in range(links):
        (root / f'link{number}').symlink_to('.')
    (root / 'below').mkdir()
    (root / 'below' / 'up').symlink_to('..')
    assert Storage(root).names == ['a.jpg', 'a.png']
    command = [sys.executable, '-m', 'dgss_core', 'data', 'check', str(description), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'nothing is wrong' in done.stdout


def test_a_folder_may_be_linked_at_several_places(tmp_path: Path) -> None:
    root = tmp_path / 'data'
    frames(tmp_path / 'all')
    root.mkdir()
    for name in ('train', 'val', 'test'):
        (root / name).symlink_to(tmp_path / 'all')
    assert len(Storage(root).names) == 6


def test_paths_do_not_multiply(tmp_path: Path) -> None:
    """Forty folders that each link twice to the next have 2**40 paths and no loop."""
    root = tmp_path / 'data'
    for level in range(40):
        (root / f'd{level}').mkdir(parents=True)
        (root / f'd{level}' / 'file').write_text('')
        for name in ('x', 'y'):
            (root / f'd{level}' / name).symlink_to(f'../d{level + 1}')
    assert 40 <= len(Storage(root).names) <= 40 * MOST_VISITS


def test_special_files_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / 'data'
    frames(root)
    os.mkfifo(root / 'b.png')
    (root / 'c.png').symlink_to('c.png')
    (root / 'd.png').symlink_to('/dev/zero')
    assert Storage(root).names == ['a.jpg', 'a.png']


def test_a_zip_that_holds_too_much_is_refused(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / 'big.zip', 'w', zipfile.ZIP_DEFLATED) as archive,
        archive.open('a.png', 'w') as member,
    ):
        for _ in range(LARGEST_FILE >> 24):
            member.write(bytes(1 << 24))
        member.write(b'1')
    assert (tmp_path / 'big.zip').stat().st_size < 1 << 20
    with pytest.raises(DgssError, match='more than any file of a dataset'):
        Storage(tmp_path).read('a.png')


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_damaged_zip_raises_nothing_but_dgss_error(method: int, tmp_path: Path) -> None:
    path = tmp_path / 'data.zip'
    with zipfile.ZipFile(path, 'w', method) as archive:
        archive.writestr('a.png', np.random.default_rng(0).bytes(500))
        archive.writestr('b.png', b'b' * 5000)
    whole = path.read_bytes()
    random = np.random.default_rng(1)
    for _ in range(400):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 3):
            data[place] = random.integers(0, 256)
        path.write_bytes(data)
        with suppress(DgssError):
            storage = Storage(path)
            for name in storage.names:
                storage.read(name)


def test_a_listing_that_is_no_text(tmp_path: Path) -> None:
    description = frames(tmp_path / 'data')
    for path in (tmp_path / 'nothing', tmp_path / 'data' / 'a.png', Path('/dev/zero')):
        with pytest.raises(DgssError, match='cannot be read'):
            build_dataset(description, tmp_path / 'data', listing=path)
    text = description.read_text()[:-1]
    description.write_text(f'{text}, splits: {{all: {{listing: a.png}}}}}}')
    with pytest.raises(DgssError, match=r'list of frames .* cannot be read'):
        build_dataset(description, tmp_path / 'data')
