"""Whatever a config or an option says, nothing is imported or called by its name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from canary import Canary
from refused import BENCH, RECIPE, TRAIN, TRAINS, refused

from dgss_core.cli import main

SPEC = {'class_path': 'canary_module.Call', 'init_args': {}}


@pytest.mark.parametrize(
    'part',
    [
        SPEC,
        {'options': {'width': SPEC}},
        {'options': SPEC},
        {'encoder_options': {'deep': [{'deeper': SPEC}]}},
        {'sources': [{'dataset': 'synthetic', 'options': {'frames': SPEC}}]},
        {'sources': [SPEC]},
        {'sources': SPEC},
        {'augmentation': SPEC},
        {'optimiser': {'class_path': 'canary_module.Call'}},
        {'optimiser': {'init_args': {'rate': 1}}},
        {'mixing': {'class_path': 'canary_module.Call', 'dict_kwargs': {}}},
        {'evaluation': {'look': SPEC}},
        {'config': SPEC},
        {'start': SPEC},
        {'weights': SPEC},
    ],
    ids=str,
)
@TRAINS
def test_a_recipe_that_names_a_class_is_refused(
    part: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture,
    canary: Canary, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path('recipe.yaml').write_text(yaml.safe_dump(RECIPE | part))
    error = refused(BENCH if 'sources' in part else TRAIN, capsys)
    assert 'recipe.yaml' in error
    assert 'names code to run; a config holds values only' in error
    assert not canary.sang
    assert not Path('run').exists()


@pytest.mark.parametrize(
    'part',
    [
        {'augmentation': 'canary_module.Call'},
        {'mixing': 'canary_module.Call'},
        {'sources': ['canary_module.Call']},
        {'sources': [{'dataset': 'synthetic', 'rare': 'canary_module.Call'}]},
        {'evaluation': {'look': 'canary_module.Call'}},
        {'optimiser': {'schedule': 'canary_module.Call'}},
        {'average': 'canary_module.Call'},
        {'self_training': 'dgss_core.cli.main'},
        {'system': 'canary_module.Call'},
        {'label_set': 'canary_module.Call'},
        {'weights': 'canary_module.Call'},
        {'sources': [{'dataset': 'canary_module.Call'}]},
        {'sources': [{'dataset': 'canary_module:Call'}]},
    ],
    ids=str,
)
def test_a_recipe_that_names_a_module_imports_nothing(
    part: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture, canary: Canary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path('recipe.yaml').write_text(yaml.safe_dump(RECIPE | part))
    refused(TRAIN, capsys)
    assert not canary.sang


@pytest.mark.parametrize(
    'extra',
    [
        ['--config.options', json.dumps({'width': SPEC})],
        [f'--config.options={json.dumps({"width": SPEC})}'],
        ['--config.options.width.class_path', 'canary_module.Call'],
        ['--config.options.width.class_path=canary_module.Call'],
        ['--config.mixing', 'canary_module.Call'],
        ['--config.mixing.class_path', 'canary_module.Call'],
        ['--config.sources', json.dumps([SPEC])],
        ['--config.sources+', json.dumps(SPEC)],
        ['--config.augmentation', 'canary_module.Call'],
        ['--hardware', 'canary_module.Call'],
        ['--hardware', json.dumps(SPEC)],
        ['--hardw', json.dumps(SPEC)],
        ['--hardware.class_path=canary_module.Call'],
    ],
    ids=str,
)
def test_an_option_imports_nothing(
    extra: list[str], tmp_path: Path, capsys: pytest.CaptureFixture, canary: Canary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path('recipe.yaml').write_text(yaml.safe_dump(RECIPE))
    refused([*TRAIN, *extra], capsys)
    assert not canary.sang


def test_a_recipe_beside_a_module_of_its_name_is_read_and_the_module_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(canary.mark.parent)
    Path(f'{canary.name}.yaml').write_text(yaml.safe_dump(RECIPE | {'steps': 0}))
    refused(['bench', 'train', '--config', f'{canary.name}.yaml'], capsys)
    assert not canary.sang


@TRAINS
def test_no_command_runs_in_a_real_process(tmp_path: Path) -> None:
    mark = tmp_path / 'mark'
    popen = {'class_path': 'subprocess.Popen', 'init_args': {'args': f'touch {mark}'}}
    popen['init_args']['shell'] = True
    path = tmp_path / 'recipe.yaml'
    path.write_text(yaml.safe_dump(RECIPE | {'options': {'width': popen}}))
    command = ['train', '--config', str(path), '--output', str(tmp_path / 'run')]
    done = subprocess.run(
        [sys.executable, '-m', 'dgss_core', *command], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert f'{path}: options.width has the key class_path' in done.stderr
    assert not mark.exists()


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
            f'{b}: &{b} [{", ".join([f"*{a}"] * 9)}]\n' for a, b in zip('abcdefgh', 'bcdefghi',
            strict=True)), 'more than 100000 values'),
        ('[' * 5000, 'nest'),
        ('a: &a [*a]', 'holds itself'),
        ('steps: 1\nsteps: 2', "the key 'steps' is given twice"),
        ('steps: !!python/object/apply:os.system [ls]', 'constructor for the tag'),
        ('steps: .inf', 'not a finite number'),
        (f'steps: {"9" * 5000}', 'a number has 5000 characters'),
        ('- a', 'holds no keys'),
        ('', 'holds no keys'),
        ('a: [', 'not readable as YAML'),
        ('a: ' + 'x' * (1 << 20), 'longer than 1 MiB'),
    ],
    ids=range(11),
)  # fmt: skip
@TRAINS
def test_a_recipe_that_is_no_plain_yaml(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / 'recipe.yaml'
    path.write_text(text)
    error = refused(['train', '--output', 'run', '--config', str(path)], capsys)
    assert str(path) in error
    assert says in error


@TRAINS
def test_sections_may_be_files_and_mappings(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('crop.yaml').write_text('crop: [64, 64]\nbase: 96\n')
    Path('cpu.yaml').write_text('accelerator: cpu\n')
    recipe = RECIPE | {'augmentation': './crop.yaml', 'seed': -7}
    Path('recipe.yaml').write_text(yaml.safe_dump(recipe))
    files = ['--config', 'recipe.yaml', '--hardware', 'cpu.yaml']
    assert 'seed at least 0, not' in refused(['bench', 'train', *files], capsys)
    inline = ['--config', json.dumps(RECIPE | {'seed': -7}), '--hardware={accelerator: cpu}']
    assert 'seed at least 0, not' in refused(['bench', 'train', *inline], capsys)
    absent = ['bench', 'train', '--config', 'nothing.yaml']
    assert 'There is no file nothing.yaml' in refused(absent, capsys)


@TRAINS
@pytest.mark.parametrize('verb', ['train', 'bench train', 'generate images'])
def test_help_names_types_in_words(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*verb.split(), '--help'])
    assert '<class' not in capsys.readouterr().out
