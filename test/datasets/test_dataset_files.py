"""Dataset files, listings, polygons and configurations that are wrong or hostile."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from canary import Canary

from dgss_core.datasets import build_dataset
from dgss_core.datasets.polygons import draw_polygons
from dgss_core.errors import DgssError

PLAIN = {'label_set': 'cityscapes19', 'images': '{name}.png', 'labels': '{name}_l.png'}


def write(folder: Path, **changes: object) -> Path:
    """A dataset file, and one frame that fits the unchanged one."""
    folder.mkdir(exist_ok=True)
    for name in ('a.png', 'a_l.png'):
        cv2.imwrite(str(folder / name), np.zeros((8, 8), np.uint8))
    path = folder / 'own.yaml'
    path.write_text(yaml.safe_dump(PLAIN | changes))
    return path


@pytest.mark.parametrize(
    'changes',
    [
        {'frame_name': '{name.__class__}'},
        {'frame_name': '{name[0]}'},
        {'frame_name': '{name!r}'},
        {'frame_name': '{name:>999999999}'},
        {'images': '{1a}.png', 'labels': '{1a}.png', 'frame_name': '{1a}'},
        {'images': '{name}{name}.png'},
        {'images': '{}.png', 'labels': '{}.png', 'frame_name': '{}'},
        {'images': '*' * 30 + '{name}.png'},
        {'labels': {'path': '{name}_l.png', 'ids': {'a': 'road'}}},
        {'labels': {'path': '{name}_l.png', 'ids': {300: 'road'}}},
        {'labels': {'path': '{name}_l.png', 'ids': {-1: 'road'}}},
        {'labels': {'path': '{name}_l.png', 'ids': {0: ['road']}}},
        {'labels': {'path': '{name}_l.png', 'ids': {0: 'nothing'}}},
        {'labels': {'path': '{name}_l.png', 'highest': 1000}},
        {'labels': {'path': '{name}_l.png', 'highest': -5}},
        {'labels': {'path': '{name}_l.png', 'names': {'a': 7}, 'classes': ['a']}},
        {'labels': {'path': '{name}_l.png', 'names': {'a': 'road'}}},
        {'labels': {'path': '{name}_l.png', 'names': {'a': 'road'}, 'classes': [7]}},
        {'labels': {'path': '{name}_l.png', 'names': {'a': 'road'}, 'classes': ['a'] * 300}},
        {'labels': {'path': '{name}_l.png', 'map': [7]}},
        {'labels': {'path': '{name}_l.png', 'channel': 'blue'}},
        {'label_set': 'x' * 10_000},
        {'condition': ['a' * 10_000]},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_wrong_dataset_file_ends_in_one_sentence(changes: dict, tmp_path: Path) -> None:
    path = write(tmp_path / 'data', **changes)
    with pytest.raises(DgssError) as caught:
        build_dataset(path, path.parent)[0]
    assert '\n' not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_no_text_of_a_dataset_file_is_imported(tmp_path: Path, canary: Canary) -> None:
    texts = (*canary.names, f'!!python/name:{canary.name}.Call', f'{{{canary.name}.Call}}')
    for name in texts:
        for key in ('label_set', 'images', 'labels', 'frame_name', 'title', 'source', 'name',
                    'condition', 'conditions', 'splits', 'sizes', canary.name):  # fmt: skip
            path = write(tmp_path / 'data', **{key: name})
            try:
                build_dataset(path, path.parent)
            except DgssError:
                continue
        for key in ('map', 'ids', 'names', 'classes', 'classes_file', 'channel'):
            path = write(tmp_path / 'data', labels={'path': '{name}_l.png', key: name})
            with pytest.raises(DgssError):
                build_dataset(path, path.parent)
        with pytest.raises(DgssError):
            build_dataset(name, tmp_path)
    assert not canary.sang


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'own.yaml'
    for text in ('a: &a [*a]', '[' * 5000, 'a: !!python/name:os.system', 'a: 1\na: 2'):
        path.write_text(text)
        with pytest.raises(DgssError, match='is not readable as YAML'):
            build_dataset(path, tmp_path)


@pytest.mark.parametrize(
    'content',
    [
        {'imgHeight': 10**9, 'imgWidth': 10**9, 'objects': []},
        {'imgHeight': -1, 'imgWidth': 4, 'objects': []},
        {'imgHeight': 4.5, 'imgWidth': 4, 'objects': []},
        {'imgHeight': '4', 'imgWidth': 4, 'objects': []},
        {'imgHeight': 4, 'imgWidth': 4, 'objects': ['a']},
        {'imgHeight': 4, 'imgWidth': 4, 'objects': 7},
        {'imgHeight': 4, 'imgWidth': 4, 'objects': [{'label': 'a', 'polygon': [1, 2, 3]}]},
        {'imgHeight': 4, 'imgWidth': 4, 'objects': [{'label': 'b', 'polygon': [[0, 0]] * 3}]},
        {'imgHeight': 4, 'imgWidth': 4, 'objects': [{'label': 'a', 'polygon': [[0, 'x']] * 3}]},
        [],
        7,
    ],
    ids=str,
)
def test_wrong_polygons_are_refused(content: object) -> None:
    with pytest.raises(DgssError, match=r'polygons are damaged|image says') as caught:
        draw_polygons(json.dumps(content).encode(), ['a'])
    assert '\n' not in str(caught.value)


def test_deep_and_endless_polygons_are_refused() -> None:
    for text in ('[' * 100_000, '{"imgHeight": 1e999}', '{"imgHeight": NaN}', '9' * 5000):
        with pytest.raises(DgssError):
            draw_polygons(text.encode(), ['a'])


def test_polygons_far_outside_are_cut() -> None:
    corners = [[-1e300, -1e300], [1e300, -1e300], [1e300, 1e300], [-1e300, 1e300]]
    content = {'imgHeight': 4, 'imgWidth': 4, 'objects': [{'label': 'a', 'polygon': corners}]}
    assert (draw_polygons(json.dumps(content).encode(), ['a']) == 0).all()
