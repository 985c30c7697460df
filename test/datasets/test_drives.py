"""Two drives with the same file names: a frame is its whole place, and keeps its own labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from miniature import grey, picture, write_folder, write_zips
from test_dataset_files import write

from dgss_core.datasets import build_dataset
from dgss_core.datasets.pairs import Pairs
from dgss_core.errors import DgssError


def layout(root: Path, **changes: object) -> Path:
    return write(root, **{'images': 'images/{name}.png', 'labels': 'labels/{name}.png', **changes})


def drive(folder: str, *names: str, value: int = 0) -> dict[str, bytes]:
    """Images and labels; `value` tells those of one drive from those of another."""
    ids = np.full((6, 8), value, np.uint8)
    files = {f'{folder}images/{name}.png': picture(size=(8, 6 + value)) for name in names}
    return files | {f'{folder}labels/{name}.png': grey(ids) for name in names}


def found(dataset: Pairs) -> dict[str, str | None]:
    return {pair.image: pair.labels and pair.labels.path for pair in dataset.pairs}


def test_frames_of_one_name_are_refused_with_the_way_out(tmp_path: Path) -> None:
    files = drive('a/', '0', '1') | drive('b/', '0', '1', value=1)
    root = write_folder(files, tmp_path / 'data')
    with pytest.raises(DgssError, match=r"frame '0' twice, as .*a/images/0\.png and .*b/images/0"):
        build_dataset(layout(tmp_path), root)
    fields = {
        'images': '{drive}/images/{name}.png',
        'labels': '{drive}/labels/{name}.png',
        'frame_name': '{drive}_{name}',
    }
    dataset = build_dataset(layout(tmp_path, **fields), root)
    assert [pair.name for pair in dataset.pairs] == ['a_0', 'a_1', 'b_0', 'b_1']
    assert int(dataset.labels(3)[0, 0]) == 1


def test_a_frame_name_that_is_too_short_is_refused(tmp_path: Path) -> None:
    root = write_folder(drive('', 'x_0') | drive('', 'y_0', value=1), tmp_path / 'data')
    short = {'images': 'images/{d}_{name}.png', 'labels': 'labels/{d}_{name}.png'}
    with pytest.raises(DgssError, match=r"frame '0' twice"):
        build_dataset(layout(tmp_path, **short), root)


def test_a_copy_of_a_frame_is_one_frame(tmp_path: Path) -> None:
    files = drive('', '0', '1')
    write_folder(files, tmp_path / 'data/extracted')
    write_folder({k: v for k, v in files.items() if k.startswith('images')}, tmp_path / 'data/a')
    dataset = build_dataset(layout(tmp_path), tmp_path / 'data')
    assert found(dataset) == {
        f'extracted/images/{name}.png': f'extracted/labels/{name}.png' for name in '01'
    }
    assert dataset.unused == []


@pytest.mark.parametrize('images', ['images/{name}.png', '{name}.png'])
def test_labels_of_another_drive_are_never_taken(images: str, tmp_path: Path) -> None:
    files = drive('a/', '0', '1') | drive('b/', '10', '11', value=1)
    del files['a/labels/1.png']
    files['b/labels/1.png'] = grey(np.zeros((7, 8), np.uint8))
    root = write_folder(files, tmp_path / 'data')
    own = layout(tmp_path, images=images, labels=images.replace('images', 'labels'))
    if images == '{name}.png':  # The folder that differs is part of what lies in front.
        files = {
            k.replace('labels/', 'labels/l').replace('images/', 'images/i'): v
            for k, v in files.items()
        }
        root = write_folder(files, tmp_path / 'other')
        own = layout(tmp_path, images='i{name}.png', labels='l{name}.png')
    dataset = build_dataset(own, root, labelled=False)
    labels = [found(dataset)[image] for image in sorted(found(dataset))]
    assert [label and label.split('/')[0] for label in labels] == ['a', None, 'b', 'b']
    assert [Path(unused).parent.parent.name for unused in dataset.unused] == ['b']


def test_labels_in_a_folder_of_their_own_are_found(tmp_path: Path) -> None:
    files = drive('', '0', '1')
    apart = {f'{"x" if k.startswith("images") else "y"}/deep/{k}': v for k, v in files.items()}
    dataset = build_dataset(layout(tmp_path), write_folder(apart, tmp_path / 'data'))
    assert found(dataset) == {
        f'x/deep/images/{name}.png': f'y/deep/labels/{name}.png' for name in '01'
    }
    apart['z/deep/labels/1.png'] = grey(np.ones((6, 8), np.uint8))
    with pytest.raises(DgssError, match=r'has two label files, .*y/deep.* and .*z/deep'):
        build_dataset(layout(tmp_path), write_folder(apart, tmp_path / 'data'))


def test_zips_and_folders_side_by_side(tmp_path: Path) -> None:
    write_zips('gta5', drive('', '00000', '00001'), tmp_path)
    assert len(build_dataset(layout(tmp_path), tmp_path)) == 2


STAMPS = ('1700000000.25', '1700000000.75')


@pytest.mark.parametrize(
    'lines',
    [
        ['b_1700000000.75', 'a_1700000000.25'],
        ['b/images/1700000000.75.png', 'a/images/1700000000.25'],
        ['/old/place/b/images/1700000000.75.png', './a/images/1700000000.25.png'],
    ],
)
def test_a_listing_keeps_the_folder_and_the_dots_of_its_paths(
    lines: list[str], tmp_path: Path
) -> None:
    files = drive('a/', *STAMPS) | drive('b/', *STAMPS, value=1)
    root = write_folder(files, tmp_path / 'data')
    own = layout(
        tmp_path,
        images='{drive}/images/{name}.png',
        labels='{drive}/labels/{name}.png',
        frame_name='{drive}_{name}',
    )
    listing = tmp_path / 'list.txt'
    listing.write_text('\n'.join(lines))
    dataset = build_dataset(own, root, listing=listing)
    assert [pair.image for pair in dataset.pairs] == [
        'b/images/1700000000.75.png',
        'a/images/1700000000.25.png',
    ]
    for wrong, says in (
        ('images/1700000000.25.png', r'could be a/images/.* or b/images/.*; write the path'),
        ('c/images/1700000000.25.png', r'names 1 of 1 frames .*\(c/images/1700000000\.25\.png\)'),
        ('1700000000', 'names 1 of 1 frames'),
    ):
        listing.write_text(wrong)
        with pytest.raises(DgssError, match=says):
            build_dataset(own, root, listing=listing)
