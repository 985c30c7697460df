from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from miniature import (
    COPIES,
    columns,
    grey,
    gta_palette,
    indexed,
    picture,
    two_channels,
    write_folder,
    write_zips,
)

from dgss_core.datasets import build_dataset
from dgss_core.datasets.storage import Storage
from dgss_core.errors import DgssError
from dgss_core.images.label_files import RED, decode_ids


@pytest.mark.parametrize('encode', [grey, two_channels, lambda x: indexed(x, np.zeros((256, 3)))])
def test_a_label_file_cut_anywhere_is_refused(encode: Callable) -> None:
    data = encode(np.random.default_rng(0).integers(0, 20, (90, 70), dtype=np.uint8))
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    for broken in (*(data[: len(data) * n // 8] for n in range(8)), bytes(flipped)):
        with pytest.raises(DgssError, match=r'damaged|is empty|within its header|starts with'):
            decode_ids(broken, RED)


def spoil(change: Callable[[dict[str, bytes]], None]) -> dict[str, bytes]:
    files = COPIES['cityscapes']()
    change(files)
    return files


LABELS = 'gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png'
IMAGE = 'leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png'


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (lambda f: f.update({LABELS: f[LABELS][:60]}), 'labelIds.png: .* damaged'),
        (lambda f: f.update({IMAGE: f[IMAGE][:60]}), 'leftImg8bit.png: .* damaged'),
        (lambda f: f.update({LABELS: picture()}), 'labelIds.png: .* colours'),
        (lambda f: f.update({LABELS: indexed(columns(7, 77), np.zeros((256, 3)))}),
         'id 77, which is outside'),
        (lambda f: f.update({IMAGE: picture(size=(9, 6))}), 'is 8x6 and its image is 9x6'),
        (lambda f: f.pop(LABELS), 'have no labels'),
        (lambda f: f.pop(IMAGE), r'holds no leftImg8bit/\{split\}'),
    ],
)  # fmt: skip
@pytest.mark.parametrize('zipped', [False, True])
def test_the_fault_of_a_copy_is_named(
    change: Callable, says: str, zipped: bool, tmp_path: Path
) -> None:
    files = spoil(change)
    root = write_zips('cityscapes', files, tmp_path) if zipped else write_folder(files, tmp_path)
    with pytest.raises(DgssError, match=says):
        build_dataset('cityscapes', root, 'val')[0]


def test_archives_that_are_not_whole_or_not_zips(tmp_path: Path) -> None:
    root = write_zips('cityscapes', COPIES['cityscapes'](), tmp_path)
    zipped = root / 'gtFine_trainvaltest.zip'
    content = bytearray(zipped.read_bytes())
    zipped.write_bytes(content[: len(content) // 2])
    with pytest.raises(DgssError, match='not a whole zip'):
        build_dataset('cityscapes', root, 'val')
    content[content.index(b'labelIds.png') + 20] ^= 0xFF
    zipped.write_bytes(content)
    with pytest.raises(DgssError, match=r'gtFine_trainvaltest.zip:gtFine/.*cannot be read'):
        [build_dataset('cityscapes', root, split)[0] for split in ('train', 'val')]
    write_folder({'idd-segmentation.tar.gz': b'x'}, tmp_path / 'idd')
    with pytest.raises(DgssError, match=r'extract idd-segmentation\.tar\.gz'):
        build_dataset('idd', tmp_path / 'idd')
    with pytest.raises(DgssError, match=r'extract idd-segmentation\.tar\.gz'):
        build_dataset('idd', tmp_path / 'idd/idd-segmentation.tar.gz')
    (tmp_path / 'nothing').mkdir()
    with pytest.raises(DgssError, match='holds no files'):
        build_dataset('idd', tmp_path / 'nothing')


def _read(dataset: object, index: int) -> int:
    return int(dataset[index].labels[0, 3])  # type: ignore[index]


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_zips_are_read_by_several_processes(method: str, tmp_path: Path) -> None:
    root = write_zips('gta5', COPIES['gta5'](), tmp_path)
    dataset = build_dataset('gta5', root)
    assert _read(dataset, 0) == 13
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap(_read, [(dataset, n % 2) for n in range(20)]) == [13] * 20
    assert pickle.loads(pickle.dumps(dataset)).fingerprint == dataset.fingerprint


def test_the_fingerprint_changes_with_the_content(tmp_path: Path) -> None:
    files = COPIES['gta5']()
    before = build_dataset('gta5', write_zips('gta5', files, tmp_path / 'a')).fingerprint
    assert build_dataset('gta5', write_zips('gta5', files, tmp_path / 'b')).fingerprint == before
    files['labels/00002.png'] = indexed(columns(7), gta_palette())
    assert build_dataset('gta5', write_zips('gta5', files, tmp_path / 'c')).fingerprint != before


def test_extra_files_of_macos_are_ignored(tmp_path: Path) -> None:
    files = COPIES['gta5']()
    files |= {f'__MACOSX/{Path(n).parent}/._{Path(n).name}': b'x' for n in files}
    assert len(build_dataset('gta5', write_zips('gta5', files, tmp_path))) == 2


def test_extracted_files_come_before_zipped_ones(tmp_path: Path) -> None:
    write_zips('gta5', COPIES['gta5'](), tmp_path)
    write_folder({'images/00001.png': b'newer'}, tmp_path)
    assert Storage(tmp_path).read('images/00001.png') == b'newer'
