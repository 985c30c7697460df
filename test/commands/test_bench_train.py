from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tiny_training import recipe, write_frames, write_recipe

from dgss_core.cli import main

STREET = Path(__file__).parents[2] / 'config' / 'train' / 'street-mobilenetv2.yaml'


def test_the_cost_of_a_recipe_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_frames(tmp_path)
    path = write_recipe(tmp_path / 'recipe.yaml', recipe(tmp_path, 'rein'))
    command = [
        'bench', 'train', '--config', path, '--data', tmp_path, '--steps', '2', '--warmup', '1',
        '--hardware.accelerator', 'cpu', '--hardware.workers', '1',
    ]  # fmt: skip
    assert main(list(map(str, command))) == 0
    out = capsys.readouterr().out

    def value(name: str) -> float:
        found = re.search(rf'{name} *│ *([\d.]+)', out)
        assert found, out
        return float(found[1])

    assert value('images per second') > 0
    assert value('the same without data') > 0
    assert value('the loader alone') > 0
    share = value('images per second') / value('the same without data')
    assert value('share of the rate without data') == pytest.approx(100 * share, rel=0.05)
    assert 0 < value('mean loss') < 100
    assert 0 <= value('waiting for data') < 100
    assert value('peak memory') > value('kept for the backward pass') > 0
    assert value('the same with nothing frozen') > value('kept for the backward pass')


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_loader_keeps_one_process_busy(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    sources = [
        {'dataset': 'camvid', 'split': 'day_train'},
        {'dataset': 'synthetic', 'split': 'train', 'options': {'seeds': [1000], 'frames': 12}},
    ]
    command = [
        'bench', 'train', '--config', STREET, '--data', shared / 'data', '--steps', '3',
        '--warmup', '1', '--config.batch', '4', '--config.augmentation.crop', '[512,512]',
        '--config.sources', json.dumps(sources),
        '--hardware.accelerator', 'cpu', '--hardware.workers', '1',
    ]  # fmt: skip
    assert main(list(map(str, command))) == 0
    waiting = re.search(r'waiting for data *│ *([\d.]+)', capsys.readouterr().out)
    assert waiting
    assert float(waiting[1]) < 5


@pytest.mark.gpu
@pytest.mark.parametrize('name', ['rein-dinov2-l-gta', 'dgss-dinov2-l-gta'])
def test_a_large_vit_fits_and_what_freezing_saves(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    sources = [
        {'dataset': 'synthetic', 'split': 'train', 'options': {'seeds': [1000], 'frames': 6}}
    ]
    command = [
        'bench', 'train', '--config', STREET.with_name(f'{name}.yaml'), '--steps', '10',
        '--config.sources', json.dumps(sources), '--hardware.in_memory', 'true',
    ]  # fmt: skip
    assert main(list(map(str, command))) == 0
    out = capsys.readouterr().out
    print(out)
    kept, whole = (
        float(re.search(rf'{words} *│ *([\d.]+)', out)[1])
        for words in ('kept for the backward pass', 'the same with nothing frozen')
    )
    assert kept < whole
