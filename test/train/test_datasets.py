from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dgss_core.datasets import Synthetic, build_dataset
from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE
from dgss_core.synthetic import CONDITIONS


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), array)


def camvid(root: Path) -> Path:
    write(root / 'images/a_0.jpg', np.full((6, 8, 3), (0, 0, 200), np.uint8))
    write(root / 'labels11/a_0.png', np.tile(np.arange(8, dtype=np.uint8) + 4, (6, 1)))
    (root / 'splits').mkdir()
    for split in ('day_train', 'dusk'):
        (root / 'splits' / f'{split}.txt').write_text('a_0\n')
    return root


def test_camvid_reads_rgb_and_turns_void_into_ignore(tmp_path: Path) -> None:
    sample = build_dataset('camvid', camvid(tmp_path), 'day_train')[0]
    assert sample.image[0, 0].tolist() == pytest.approx([200, 0, 0], abs=4)
    assert sample.labels[0].tolist() == [4, 5, 6, 7, 8, 9, 10, IGNORE]
    assert (sample.name, sample.condition) == ('a_0', 'day')


def test_what_is_wrong_with_a_copy_is_said(tmp_path: Path) -> None:
    root = camvid(tmp_path)
    with pytest.raises(DgssError, match="no split 'night'"):
        build_dataset('camvid', root, 'night')
    write(root / 'labels11/a_0.png', np.zeros((3, 8), np.uint8))
    with pytest.raises(DgssError, match='must be of one size'):
        build_dataset('camvid', root, 'dusk')[0]
    write(root / 'labels11/a_0.png', np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(DgssError, match='holds colours'):
        build_dataset('camvid', root, 'dusk')[0]
    (root / 'images/a_0.jpg').unlink()
    with pytest.raises(DgssError, match='holds no images/'):
        build_dataset('camvid', root, 'dusk')[0]
    with pytest.raises(DgssError, match=r'There is no .*kitti'):
        build_dataset('kitti', tmp_path / 'kitti')


def test_the_shared_copies_are_whole(shared: Path) -> None:
    root = shared / 'data/camvid'
    sizes = {
        split: len(build_dataset('camvid', root, split))
        for split in ('day_train', 'day_val', 'day_test', 'dusk')
    }
    assert sizes == {'day_train': 305, 'day_val': 101, 'day_test': 171, 'dusk': 62}
    sample = build_dataset('camvid', root, 'dusk')[0]
    assert sample.image.shape == (360, 480, 3)
    assert set(np.unique(sample.labels)) <= {*range(11), IGNORE}
    kitti = build_dataset('kitti', shared / 'data/kitti')
    assert len(kitti) == 200
    assert set(np.unique(kitti[0].labels)) <= {*range(19), IGNORE}


def test_the_drive_takes_the_conditions_in_turn() -> None:
    drive = Synthetic(seeds=(4, 5), frames=6, width=64, height=36)
    conditions = [drive[index].condition for index in range(len(drive))]
    assert sorted(conditions[:6]) == sorted(conditions[6:]) == sorted(CONDITIONS)
    assert conditions[0] != conditions[6]
    again = Synthetic(seeds=(4, 5), frames=6, width=64, height=36)[7]
    assert np.array_equal(drive[7].image, again.image)
    with pytest.raises(IndexError):
        drive[12]
