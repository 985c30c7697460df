"""A folder of images: nothing in it that could be a frame is passed over without a word."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import write_video

from dgss_core.bags import write_bag
from dgss_core.errors import DgssError, IncompleteError
from dgss_core.images.compressed import encode_jpeg, encode_png
from dgss_core.images.folder import folders_in
from dgss_core.images.frames import FIRST_STAMP_NS, Frame
from dgss_core.inputs import read_frames

IMAGE = np.full((24, 32, 3), 7, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / 'images'
    folder.mkdir()
    (folder / '0.png').write_bytes(encode_png(IMAGE))
    return folder


def read(
    path: Path, labels: Path | None = None
) -> tuple[list[Frame], list[tuple[str, DgssError]]]:
    failed: list[tuple[str, DgssError]] = []
    source = read_frames(path, labels=labels, on_error=lambda *reason: failed.append(reason))
    return list(source), failed


def test_links_without_a_target_are_named(folder: Path) -> None:
    (folder / '1.png').symlink_to('../cache/ab/1.png')
    (folder / '2.PNG').symlink_to('2.PNG')
    (folder / '3.png').write_text('../../cache/files/3.png')  # A link in a copy without links.
    (folder / '4.jpg').mkdir()
    frames, failed = read(folder)
    assert [frame.name for frame in frames] == ['0']
    assert {name for name, _ in failed} == {'1', '2', '3', '4'}
    reasons = {name: str(error) for name, error in failed}
    assert "1.png is a link to '../cache/ab/1.png', which does not exist" in reasons['1']
    assert 'is a link that leads back to itself' in reasons['2']
    assert "a link to '../../cache/files/3.png', which does not exist" in reasons['3']
    assert 'is no file' in reasons['4']
    with pytest.raises(DgssError, match='is a link to'):
        read_frames(folder / '1.png')
    with pytest.raises(DgssError, match='is a link to'):
        list(read_frames(folder))


@pytest.mark.parametrize(
    ('name', 'content', 'says'),
    [
        ('a.gif', b'GIF89a' + bytes(40), '2 .gif files of .* are left out, the first is'),
        ('a', encode_jpeg(IMAGE), '2 images without a suffix of'),
        ('a.jpg_large', encode_jpeg(IMAGE), '2 .jpg_large files'),
        ('a.exr', b'v/1\x01' + bytes(40), '2 .exr files'),
    ],
)
def test_pictures_of_other_names_are_counted(
    folder: Path, name: str, content: bytes, says: str
) -> None:
    for first in ('', 'b'):
        (folder / f'{first}{name}').write_bytes(content)
    frames, ((_, error),) = read(folder)
    assert len(frames) == 1
    assert isinstance(error, IncompleteError)
    assert error.missing == 2
    with pytest.raises(DgssError, match=says):
        raise error


def test_texts_and_hidden_files_are_passed_over(folder: Path) -> None:
    for name in ('notes.txt', '._0.png', '.DS_Store', 'labels.json', 'empty'):
        (folder / name).write_text('text' if name != 'empty' else '')
    (folder / 'labels').mkdir()
    assert read(folder)[1] == []


def test_images_and_a_recording_in_one_folder(folder: Path, tmp_path: Path) -> None:
    write_bag(tmp_path / 'bag', [Frame('a', IMAGE, FIRST_STAMP_NS)] * 3)
    (stored,) = (tmp_path / 'bag').glob('*.mcap')
    (folder / 'notes.mcap').write_bytes(stored.read_bytes())
    frames, ((_, error),) = read(folder)
    assert [frame.name for frame in frames] == ['0']
    assert "a bag, 'notes.mcap'; the images are read and it is left out" in str(error)

    (tmp_path / 'bag' / 'view.png').write_bytes(encode_png(IMAGE))
    frames, ((_, error),) = read(tmp_path / 'bag')
    assert len(frames) == 3
    assert "the first is 'view.png'; the bag is read" in str(error)


def test_a_video_beside_images_is_named(folder: Path) -> None:
    write_video(folder / 'clip.mkv', count=2)
    frames, ((_, error),) = read(folder)
    assert len(frames) == 1
    assert "a video, 'clip.mkv'" in str(error)


def test_a_folder_of_other_things_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / 'a.gif').write_bytes(b'GIF89a')
    with pytest.raises(DgssError, match=r'holds no images .* 1 \.gif files'):
        read_frames(tmp_path)


def test_a_pipe_named_like_an_image_does_not_block(folder: Path) -> None:
    os.mkfifo(folder / '1.png')
    assert [name for name, _ in read(folder)[1]] == ['1']


def test_labels_of_no_image_are_named(folder: Path, tmp_path: Path) -> None:
    labels = tmp_path / 'labels'
    labels.mkdir()
    for stem in ('0', '00', '7'):
        (labels / f'{stem}.png').write_bytes(encode_png(IMAGE[..., 0]))
    (frame,), ((_, error),) = read(folder, labels)
    assert frame.labels is not None
    assert '2 of 3 label files in' in str(error)
    assert "the first is '00.png'" in str(error)


def test_labels_with_a_palette_are_indices(folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    labels = tmp_path / 'labels'
    labels.mkdir()
    ids = (np.arange(24 * 32).reshape(24, 32) % 3).astype(np.uint8)
    painted = Image.fromarray(ids, 'P')
    painted.putpalette([128, 64, 128, 0, 0, 142, 220, 20, 60])
    painted.save(labels / '0.png')
    assert cv2.imread(str(labels / '0.png'), cv2.IMREAD_UNCHANGED).ndim == 3
    (frame,), failed = read(folder, labels)
    assert not failed
    assert np.array_equal(frame.labels, ids)


def test_labels_that_are_links_without_a_target_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / '1.png').write_bytes(encode_png(IMAGE))
    (folder / '2.png').write_bytes(encode_png(IMAGE))
    labels = tmp_path / 'labels'
    labels.mkdir()
    (labels / '0.png').write_bytes(encode_png(IMAGE[..., 0]))
    (labels / '1.png').symlink_to('/gone/1.png')
    (labels / '2.png').write_text('../gone/2.png')
    frames, failed = read(folder, labels)
    assert [frame.name for frame in frames] == ['0']
    assert [name for name, _ in failed] == ['1', '2']
    for (_, error), target in zip(failed, ('/gone/1.png', '../gone/2.png'), strict=True):
        assert f"is a link to '{target}', which does not exist" in str(error)
        assert 'belong to no image' not in str(error)
    (tmp_path / 'elsewhere').symlink_to('/gone/labels')
    with pytest.raises(DgssError, match="is a link to '/gone/labels'"):
        read(folder, tmp_path / 'elsewhere')


def test_labels_that_are_no_pngs_are_named(folder: Path, tmp_path: Path) -> None:
    labels = tmp_path / 'labels'
    labels.mkdir()
    (labels / '0.tiff').write_bytes(b'II*\0')
    with pytest.raises(DgssError, match=r"no PNGs .* is '0.tiff'; save labels as PNGs") as caught:
        read(folder, labels)
    assert 'name labels like their images' not in str(caught.value)
    (folder / '1.png').write_bytes(encode_png(IMAGE))
    (labels / '1.png').write_bytes(encode_png(IMAGE[..., 0]))
    (labels / '1.jpg').write_bytes(encode_jpeg(IMAGE))  # A preview beside the labels.
    frames, failed = read(folder, labels)
    assert [frame.name for frame in frames if frame.labels is not None] == ['1']
    assert [name for name, _ in failed] == ['0.tiff']


def test_subfolders_are_no_fault_and_are_told(folder: Path) -> None:
    assert read_frames(folder).note == ''
    (folder / '.git').mkdir()
    (folder / 'x').mkdir()
    source = read_frames(folder)
    assert [frame.name for frame in source] == ['0']
    assert "also holds folders ('x'), which are not searched" in source.note


def test_a_folder_of_videos_holds_no_images(tmp_path: Path) -> None:
    for name in ('v.mp4', 'w.mp4'):
        write_video(tmp_path / name, count=2)
    with pytest.raises(
        DgssError, match=r"holds no images, but a video, 'v.mp4' and 1 more; give"
    ) as caught:
        read_frames(tmp_path)
    assert 'left out' not in str(caught.value)


def test_a_folder_of_a_condition_behind_a_link_is_named(folder: Path) -> None:
    (folder / 'day').mkdir()
    assert folders_in(folder, ['day', 'night']) == ['day']
    (folder / 'night').symlink_to('/gone/night')
    with pytest.raises(DgssError, match="is a link to '/gone/night'"):
        folders_in(folder, ['day', 'night'])


def test_odd_things_in_a_labels_folder_do_not_block(folder: Path, tmp_path: Path) -> None:
    for name in ('1', '2'):
        (folder / f'{name}.png').write_bytes(encode_png(IMAGE))
    labels = tmp_path / 'labels'
    labels.mkdir()
    (labels / '0.png').write_bytes(encode_png(IMAGE[..., 0]))
    os.mkfifo(labels / '1.png')
    (labels / '2.tiff').symlink_to('2.tiff')
    frames, failed = read(folder, labels)
    assert [frame.name for frame in frames] == ['0', '1', '2']
    assert [name for name, _ in failed] == ['2.tiff', '1.png']
