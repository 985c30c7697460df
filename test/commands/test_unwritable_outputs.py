"""A verb that would work for long tries its output first, before it looks at its inputs."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from dgss_core.cli import main

TORCH = pytest.mark.skipif(not find_spec('torch'), reason='needs pip install dgss_ros[train]')


def checkpoint(folder: Path) -> Path:
    """What describes itself as a checkpoint, and cannot be loaded."""
    from safetensors.numpy import save_file

    from dgss_core.labels import LabelSet
    from dgss_core.networks.checkpoint import SCHEMA

    about = {
        **dict.fromkeys(('source', 'source_sha256', 'licence'), 'none'),
        **{'schema': SCHEMA, 'system': 'none', 'sizes': '{}', 'training_data': '[]'},
        **{'label_set': json.dumps(LabelSet.load('cityscapes19').to_dict()), 'origin': '{}'},
    }
    path = folder / 'model.safetensors'
    save_file({'weights': np.zeros(3)}, path, about)
    return path


def image(folder: Path) -> Path:
    path = folder / 'one.png'
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    return path


def config(folder: Path) -> Path:
    from tiny_training import recipe, write_recipe

    return write_recipe(folder / 'recipe.yaml', recipe(folder))


VERBS = {
    'segment': lambda here: ['segment', image(here), '--backend', 'torch:missing'],
    'evaluate': lambda here: ['evaluate', '--data', 'gta5', '--protocol', 'missing'],
    'compare': lambda here: ['compare', here / 'a', here / 'b'],
    'export': lambda here: ['export', checkpoint(here)],
    'train': lambda here: ['train', '--config', config(here), '--data', here / 'missing'],
    'mine-styles': lambda here: ['mine-styles', '--dataset', 'missing'],
    'generate images': lambda here: ['generate', 'images', here / 'missing'],
    'generate labels': lambda here: ['generate', 'labels', here / 'missing'],
    'convert': lambda here: ['convert', here / 'missing', '--system', 'famix-rn50'],
    'published bundle': lambda here: ['published', 'bundle', 'famix-rn50-gta'],
}
LIGHT = ('segment', 'evaluate', 'compare')


@pytest.mark.parametrize(
    'verb', [pytest.param(verb, marks=[] if verb in LIGHT else [TORCH]) for verb in VERBS]
)
def test_an_output_that_cannot_be_written_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    (tmp_path / 'file').touch()
    output = tmp_path / 'file' / 'folder' / 'output.safetensors'
    command = [*VERBS[verb](tmp_path), '--output', output]
    before = sorted(os.listdir(tmp_path))
    assert main([*map(str, command)]) == 2
    error = capsys.readouterr().err
    assert f'cannot be written ({tmp_path / "file"}: Not a directory); choose another' in error
    assert error.count('\n') == 1
    assert sorted(os.listdir(tmp_path)) == before
