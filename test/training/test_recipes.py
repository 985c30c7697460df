"""Every recipe at reduced size, from its config to a working checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_training import CPU, RECIPES, VIT, exact_system, parse, recipe, write_frames

from dgss_core.networks.checkpoint import load_checkpoint, read_about
from dgss_core.training.loop import train


@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_learns(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_frames(tmp_path)
    # Styles that mix within two frames teach too little in so few steps.
    steps, batch = 60, 4 if name == 'dgss' else 2
    output = tmp_path / 'run'
    train(parse(recipe(tmp_path, name, steps=steps, batch=batch)), tmp_path, output, CPU)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('step')]
    losses = [float(line.split('loss ')[1].split(',')[0]) for line in lines if 'loss' in line]
    assert len(losses) == 3
    assert losses[-1] < 0.85 * losses[0], losses
    (score,) = map(json.loads, (output / 'scores.jsonl').read_text().splitlines())
    assert score['step'] == steps
    assert score['miou'] > 0.05, score
    model = load_checkpoint(output / 'model.safetensors')
    assert model(torch.zeros(1, 3, 96, 96)).shape[1] == 19
    about, label_set = read_about(output / 'best.safetensors')
    assert about.system == RECIPES[name]['system']
    assert label_set.name == 'cityscapes19'
    saved = yaml.safe_load((output / 'config.yaml').read_text())
    assert saved['optimiser']['betas'] == [0.9, 0.999]
    origin, chosen = map(json.loads, (output / 'origin.jsonl').read_text().splitlines())
    assert origin['seed'] == 1
    runs = {'precision': '32-true', 'changes': 'loader', 'compile': False, 'channels_last': False}
    assert runs.items() <= chosen['runs'].items()
    assert chosen['runs']['device']
    assert {'commit', 'changes', 'command', 'versions', 'hardware'} <= set(origin)
    assert list(output.glob('events.*'))


def test_styles_are_mixed_again_where_blocks_are_recomputed(tmp_path: Path) -> None:
    write_frames(tmp_path)
    values = recipe(tmp_path, 'dgss', steps=2, mixing={'side': 2, 'probability': 1.0})
    for name, hardware in (('stored', CPU), ('again', replace(CPU, checkpointing=True))):
        train(parse(values), tmp_path, tmp_path / name, hardware)
    stored, again = (load_file(tmp_path / n / 'model.safetensors') for n in ('stored', 'again'))
    for name, x in stored.items():
        torch.testing.assert_close(again[name], x, msg=name)


def test_a_trained_eomt_needs_no_masks(tmp_path: Path) -> None:
    write_frames(tmp_path)
    sizes = {
        'encoder_options': {**VIT, 'taps': [1], 'registers': 4},
        'options': {'blocks': 2, 'queries': 8},
    }
    values = recipe(tmp_path, 'dgss', system='eomt-dinov2-s', steps=5, **sizes)
    del values['mixing'], values['average']
    train(parse(values), tmp_path, tmp_path / 'run', CPU)
    shares = load_file(tmp_path / 'run' / 'model.safetensors')['head.masked_share']
    assert shares.tolist() == [0, 0]


@pytest.mark.slow
def test_compiled_blocks_learn_the_same(tmp_path: Path) -> None:
    write_frames(tmp_path)
    # Without dropout, because compiled code draws other random numbers.
    values = recipe(tmp_path, 'dgss', steps=4, system=exact_system(), options={})
    values['optimiser'] = {'name': 'sgd', 'rate': 0.05}
    for name, hardware in (('plain', CPU), ('compiled', replace(CPU, compile=True))):
        train(parse(values), tmp_path, tmp_path / name, hardware)
    plain, compiled = (
        load_file(tmp_path / n / 'state.safetensors') for n in ('plain', 'compiled')
    )
    for name in plain:
        torch.testing.assert_close(compiled[name], plain[name], atol=1e-4, rtol=1e-3, msg=name)
