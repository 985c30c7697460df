"""An EXIF orientation turns single files, never streams and data sets, whose labels stay."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from dgss_core.cli import main
from dgss_core.datasets import build_dataset
from dgss_core.errors import DgssError
from dgss_core.images.compressed import decode_compressed
from dgss_core.images.frames import read_image
from dgss_core.images.stills import is_turned
from dgss_core.inputs import read_frames

TURNS = {1: 0, 3: 2, 6: -1, 8: 1}
"""Quarter turns anticlockwise that the orientation asks for."""


def scene() -> np.ndarray:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = (250, 20, 20)
    image[24:, 32:] = (20, 20, 250)
    return image


def with_tag(orientation: int) -> bytes:
    """The scene as a JPEG whose EXIF data has the orientation."""
    jpeg = cv2.imencode('.jpg', scene()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    entry = struct.pack('<HHIHH', 0x0112, 3, 1, orientation, 0)
    exif = b'Exif\0\0II*\0' + struct.pack('<IH', 8, 1) + entry + struct.pack('<I', 0)
    return jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif + jpeg[2:]


def near(found: np.ndarray, expected: np.ndarray) -> bool:
    if found.shape != expected.shape:
        return False
    return bool(np.abs(found.astype(int) - expected).mean() < 5)


@pytest.mark.parametrize('orientation', TURNS)
def test_a_stream_keeps_its_pixels_and_a_file_is_read_upright(
    tmp_path: Path, orientation: int
) -> None:
    data = with_tag(orientation)
    path = tmp_path / 'photo.jpg'
    path.write_bytes(data)
    assert near(decode_compressed(data), scene())
    assert near(read_image(path), np.rot90(scene(), TURNS[orientation]))
    assert is_turned(data) == (orientation != 1)


def write_dataset(root: Path, orientation: int, labels: np.ndarray) -> Path:
    for name in ('images', 'labels'):
        (root / 'copy' / name).mkdir(parents=True)
    (root / 'copy' / 'images' / 'a.jpg').write_bytes(with_tag(orientation))
    cv2.imwrite(str(root / 'copy' / 'labels' / 'a.png'), labels)
    description = root / 'd.yaml'
    description.write_text(
        'images: images/{name}.jpg\nlabels: labels/{name}.png\nlabel_set: cityscapes19\n'
    )
    return description


def test_a_dataset_keeps_image_and_labels_together(tmp_path: Path, capsys) -> None:
    labels = np.zeros((48, 64), np.uint8)
    labels[:24, :32] = 1
    description = write_dataset(tmp_path, 3, labels)
    sample = build_dataset(str(description), tmp_path / 'copy')[0]
    assert near(sample.image, scene())
    np.testing.assert_array_equal(sample.labels, labels)
    sheet = ['--sheet', str(tmp_path / 's.jpg')]
    assert main(['data', 'check', str(description), str(tmp_path / 'copy'), *sheet]) == 1
    assert 'has an EXIF orientation, and its labels have none' in capsys.readouterr().err


def test_labels_of_the_turned_image_are_named(tmp_path: Path) -> None:
    description = write_dataset(tmp_path, 6, np.zeros((64, 48), np.uint8))
    with pytest.raises(DgssError, match=r'48x64 and its image is 64x48.* after the EXIF orient'):
        build_dataset(str(description), tmp_path / 'copy')[0]


def test_a_folder_with_labels_names_a_turned_image(tmp_path: Path) -> None:
    write_dataset(tmp_path, 3, np.zeros((48, 64), np.uint8))
    root = tmp_path / 'copy'
    with pytest.raises(DgssError, match=r'a\.jpg has an EXIF orientation'):
        list(read_frames(root / 'images', labels=root / 'labels'))
