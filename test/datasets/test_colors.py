"""Labels whose colours mean the classes, and what is said of ids that mean none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from miniature import grey, picture, write_folder
from test_dataset_files import write

from dgss_core.datasets import build_dataset
from dgss_core.errors import DgssError
from dgss_core.images.compressed import encode_png
from dgss_core.labels import IGNORE, LabelSet

COLORS = LabelSet.load('cityscapes19').colors
NAMES = LabelSet.load('cityscapes19').names
IDS = np.array([[0, 0, 13, IGNORE]] * 3, np.uint8).repeat(2, 1).repeat(2, 0)


def dataset(root: Path, labels: bytes, **meaning: object):
    files = {'i/0.png': picture(size=(8, 6)), 'l/0.png': labels}
    folder = write_folder(files, root / 'data')
    path = write(root, images='i/{name}.png', labels={'path': 'l/{name}.png', **meaning})
    return build_dataset(path, folder)


@pytest.mark.parametrize(
    'colors',
    [
        'label_set',
        {'road': [128, 64, 128], 'car': [0, 0, 142], 'void': [0, 0, 0]},
        {'road': [[128, 64, 128], [1, 2, 3]], 'car': [0, 0, 142], 'void': [[0, 0, 0]]},
    ],
    ids=['of the set', 'one each', 'several'],
)
def test_colours_become_ids(colors: object, tmp_path: Path) -> None:
    found = dataset(tmp_path, encode_png(COLORS[IDS]), colors=colors)
    assert np.array_equal(found.labels(0), IDS)


def test_a_colour_without_a_class_is_named_with_its_share(tmp_path: Path) -> None:
    smoothed = COLORS[IDS]
    smoothed[0, 0] = 9, 8, 7
    with pytest.raises(DgssError, match=r'l/0\.png: 2\.08% .* the first is \[9, 8, 7\]'):
        dataset(tmp_path, encode_png(smoothed), colors='label_set').labels(0)


def test_the_fingerprint_knows_the_colours(tmp_path: Path) -> None:
    data = encode_png(COLORS[IDS])
    prints = {
        dataset(tmp_path, data, colors={'road': road, 'car': [0, 0, 142]}).fingerprint
        for road in ([128, 64, 128], [1, 2, 3])
    }
    assert len(prints) == 2


@pytest.mark.parametrize(
    ('meaning', 'says'),
    [
        ({'colors': {'road': [1, 2]}}, 'three|where a name and'),
        ({'colors': {'road': [1, 2, 256]}}, 'where a name and'),
        ({'colors': {'road': [[1, 2, 3], 4]}}, 'where a name and'),
        ({'colors': {7: [1, 2, 3]}}, 'where a name and'),
        ({'colors': {}}, 'needs 1 to'),
        ({'colors': 'mine'}, 'colors is'),
        ({'colors': {'rode': [1, 2, 3]}}, 'no label .*rode'),
        ({'colors': {'road': [1, 2, 3], 'car': [1, 2, 3]}}, 'stands for two classes'),
        ({'colors': {'road': [1, 2, 3]}, 'ids': {0: 'road'}}, 'in the place of ids'),
    ],
    ids=str,
)
def test_wrong_colours_end_in_one_sentence(meaning: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(DgssError, match=says) as caught:
        dataset(tmp_path, encode_png(COLORS[IDS]), **meaning)
    assert '\n' not in str(caught.value)


def test_an_id_without_a_class_names_both_ways_out(tmp_path: Path) -> None:
    ids = np.full((6, 8), 77, np.uint8)
    with pytest.raises(
        DgssError, match=r'id 77, which is no class of .* in ids, or raise highest'
    ):
        dataset(tmp_path, grey(ids)).labels(0)
    assert (dataset(tmp_path, grey(ids), highest=77).labels(0) == IGNORE).all()
    assert (dataset(tmp_path, grey(ids), ids={77: 'car'}).labels(0) == 13).all()


def test_every_colour_of_a_label_set_has_one_class() -> None:
    assert len({tuple(color) for color in COLORS[: len(NAMES)].tolist()}) == len(NAMES)
