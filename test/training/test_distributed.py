"""Training on two processes gives the result of one process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import CPU, exact_system, parse, recipe, write_frames, write_recipe
from two_processes import run_two, run_two_machines

from dgss_core.training.config import HardwareConfig
from dgss_core.training.loop import train
from dgss_core.training.state import TrainingState


def exact_recipe(root: Path, steps: int = 12, **changes) -> dict:
    values = recipe(root, 'dgss', steps=steps, save_every=6, **changes)
    # Plain SGD: Adam amplifies rounding errors of gradients close to zero.
    optimiser = {'name': 'sgd', 'rate': 0.05, 'clip': 1.0}
    return values | {
        'system': exact_system(), 'options': {}, 'mixing': None, 'optimiser': optimiser
    }  # fmt: skip


def close(one: Path, other: Path) -> None:
    ours, theirs = load_file(one), load_file(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ('strategy', 'run'),
    [('ddp', run_two_machines), ('fsdp', run_two)],
    ids=['ddp-2', 'fsdp-1'],
)
def test_two_processes_learn_what_one_does(
    strategy: str, run: Callable[..., str], tmp_path: Path
) -> None:
    write_frames(tmp_path)
    values = exact_recipe(tmp_path)
    train(parse(values), tmp_path, tmp_path / 'one', CPU)
    config = write_recipe(tmp_path / 'recipe.yaml', values)
    out = run(config, tmp_path, tmp_path / 'two', strategy)
    assert out.count('step 12/12') == 1
    compare(tmp_path)


def test_two_processes_distil_what_one_does(tmp_path: Path) -> None:
    write_frames(tmp_path)
    train(parse(exact_recipe(tmp_path, 1)), tmp_path, tmp_path / 'teacher', CPU)
    teacher = str(tmp_path / 'teacher' / 'model.safetensors')
    distillation = {'teacher': teacher, 'correlation': 1.0}
    values = exact_recipe(tmp_path, 2) | {'distillation': distillation}
    train(parse(values), tmp_path, tmp_path / 'one', CPU)
    config = write_recipe(tmp_path / 'recipe.yaml', values)
    run_two(config, tmp_path, tmp_path / 'two', 'fsdp')
    compare(tmp_path)


def test_two_processes_resume_a_training_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_frames(tmp_path)
    values = exact_recipe(tmp_path)
    save = TrainingState.save

    def save_and_copy(state: TrainingState, path: Path, first: bool) -> None:
        save(state, path, first)
        if state.step == 6:
            shutil.copytree(path.parent, tmp_path / 'two')

    monkeypatch.setattr(TrainingState, 'save', save_and_copy)
    train(parse(values), tmp_path, tmp_path / 'one', CPU)
    config = write_recipe(tmp_path / 'recipe.yaml', values)
    out = run_two(config, tmp_path, tmp_path / 'two', 'fsdp', '--resume')
    assert 'step 12/12' in out
    assert 'step 6/12' not in out
    compare(tmp_path)


def compare(tmp_path: Path) -> None:
    for name in ('state', 'model', 'best'):
        close(tmp_path / 'one' / f'{name}.safetensors', tmp_path / 'two' / f'{name}.safetensors')
    scores = [json.loads((tmp_path / n / 'scores.jsonl').read_text()) for n in ('one', 'two')]
    assert scores[0]['miou'] == pytest.approx(scores[1]['miou'], abs=0.01)


def test_accumulation_learns_the_same(tmp_path: Path) -> None:
    write_frames(tmp_path)
    values = exact_recipe(tmp_path)
    train(parse(values), tmp_path, tmp_path / 'whole', CPU)
    hardware = HardwareConfig('cpu', '32-true', at_once=1, workers=0, checkpointing=True)
    train(parse(values), tmp_path, tmp_path / 'parts', hardware)
    close(tmp_path / 'whole' / 'state.safetensors', tmp_path / 'parts' / 'state.safetensors')
