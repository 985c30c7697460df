"""Whatever a config or an option says, nothing is imported or called by its name."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from canary import Canary

from dgss_core.cli import main

RECIPE = {'system': 'dgss-mobilenetv2', 'sources': [{'dataset': 'synthetic'}]}
SPEC = {'class_path': 'canary_module.Call', 'init_args': {}}
TRAIN = ['train', '--output', 'run', '--config', 'recipe.yaml']
BENCH = ['bench', 'train', '--config', 'recipe.yaml']
TRAINS = pytest.mark.skipif(find_spec('torch') is None, reason='needs torch: trains')


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence of a command that has to exit with 2."""
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('dgss: error: ')
    assert '\n' not in error
    return error


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
    error = refused(['bench', 'train', '--config', 'nothing.yaml'], capsys)
    assert 'There is no file nothing.yaml' in error


@pytest.mark.parametrize(
    ('part', 'sentence'),
    [
        (
            {'rare': {'temperature': 0.1}},
            'recipe.yaml: there is no key rare; rare belongs to each entry of sources',
        ),
        ({'rate': 0.1}, 'recipe.yaml: there is no key rate; rate belongs to optimiser'),
        (
            {'optimiser': {'shape': 'poly'}},
            'recipe.yaml: there is no key optimiser.shape; shape belongs to schedule of optimiser',
        ),
        ({'foo': 1}, 'recipe.yaml: there is no key foo'),
        (
            {'sources': [{'dataset': 'synthetic', 'rares': {'temperature': 1}}]},
            'recipe.yaml: there is no key rares',
        ),
    ],
    ids=str,
)
@TRAINS
def test_an_unknown_key_is_named_with_its_file_and_its_place(
    part: dict[str, Any], sentence: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path('recipe.yaml').write_text(yaml.safe_dump(RECIPE | part))
    assert refused(TRAIN, capsys) == f'dgss: error: {sentence}; see dgss train --help.'


@pytest.mark.parametrize(
    ('part', 'sentence'),
    [
        (
            {'sources': ['tiny']},
            "sources: entry 1 is 'tiny'; write its keys as a mapping, such as",
        ),
        ({'sources': 'tiny'}, "sources is 'tiny'; write a list"),
        ({'sources': {'dataset': 'tiny'}}, "sources is {'dataset': 'tiny'}; write a list"),
        (
            {'sources': [{'dataset': [1]}]},
            'dataset: Expected a str. Got value: [1]; see dgss train',
        ),
        ({'optimiser': 'adamw'}, "optimiser: 'adamw' is neither a section nor the path"),
        ({'optimiser': './none.yaml'}, 'optimiser: There is no file none.yaml; correct the path'),
        ({'optimiser': [1]}, 'optimiser is [1]; write its keys as a mapping'),
        ({'optimiser': {'schedule': 3}}, 'optimiser: schedule is 3; write its keys'),
        ({'augmentation': 3}, 'augmentation is 3; write its keys as a mapping'),
        ({'augmentation': None}, 'augmentation is None; write its keys as a mapping'),
        ({'steps': 'many'}, 'steps: Expected an int. Got value: many'),
    ],
)
@TRAINS
def test_a_value_that_is_no_section_is_refused_with_its_place(
    part: dict[str, Any], sentence: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path('recipe.yaml').write_text(yaml.safe_dump(RECIPE | part))
    assert f'recipe.yaml: {sentence}' in refused(TRAIN, capsys)


@TRAINS
def test_an_option_that_is_no_section_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('recipe.yaml').write_text(yaml.safe_dump(RECIPE))
    error = refused([*TRAIN, '--config.sources', '[tiny]'], capsys)
    assert "--config.sources: entry 1 is 'tiny'; write its keys as a mapping" in error
    assert '--config.optimiser is [1]; ' in refused([*TRAIN, '--config.optimiser=[1]'], capsys)


@TRAINS
@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ([], 'Give --config FILE, --output; see dgss train --help.'),
        (['--config.system', 'tiny'], 'Give --config.sources, --output; see'),
        (['--config', 'recipe.yaml'], 'Give --output; see'),
    ],
)
def test_missing_options_are_named_as_they_are_given(
    given: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('recipe.yaml').write_text(yaml.safe_dump(RECIPE))
    assert said in refused(['train', *given], capsys)


@TRAINS
@pytest.mark.parametrize('verb', ['train', 'bench train', 'generate images'])
def test_help_names_types_in_words(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*verb.split(), '--help'])
    assert '<class' not in capsys.readouterr().out
