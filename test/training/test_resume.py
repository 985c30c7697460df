"""A killed training resumes bit-identically."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import CPU, parse, recipe, write_frames, write_recipe

from dgss_core.errors import DgssError
from dgss_core.training.loop import train
from dgss_core.training.state import SavedState, TrainingState, lay_out

STEPS, SAVE_EVERY = 60, 5
SOURCES = {'rare': {'min_pixels': 100}, 'repeat': 2}


def many_things(root: Path) -> dict:
    """A recipe with every part that has a state or draws random numbers."""
    frames = {'dataset': str(root / 'frames.yaml')}
    values = recipe(root, 'dgss', steps=STEPS, save_every=SAVE_EVERY, seed=3)
    values['sources'] = [frames, {**frames, **SOURCES}]
    values['evaluation'] |= {'every': 25}
    values['optimiser'] = {'rate': 2e-3, 'schedule': {'warmup': 10}, 'weight_decay_end': 0.01}
    values['average'] = {'decay': 0.9, 'start': 4, 'every': 2}
    return values


def same(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def begin(config: Path, data: Path, output: Path, workers: int, **pipes: Any) -> subprocess.Popen:
    command = [
        sys.executable, '-m', 'dgss_core', 'train', '--config', config, '--data', data,
        '--output', output, '--hardware.accelerator', 'cpu', '--hardware.precision', '32-true',
        '--hardware.workers', workers,
    ]  # fmt: skip
    return subprocess.Popen(list(map(str, command)), start_new_session=True, **pipes)


def test_a_killed_training_resumes_to_the_bit(tmp_path: Path) -> None:
    write_frames(tmp_path)
    values = many_things(tmp_path)
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    train(parse(values), tmp_path, whole, CPU)

    process = begin(write_recipe(tmp_path / 'recipe.yaml', values), tmp_path, killed, workers=1)
    try:
        deadline = time.monotonic() + 120
        while not (killed / 'scores.jsonl').is_file():
            assert process.poll() is None, 'the training ended before it could be killed'
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (killed / 'state.safetensors.tmp').exists()

    train(parse(values), tmp_path, killed, CPU, resume=True)
    assert same(whole / 'state.safetensors', killed / 'state.safetensors')
    assert same(whole / 'model.safetensors', killed / 'model.safetensors')
    scores = [
        [json.loads(line) for line in (folder / 'scores.jsonl').open()]
        for folder in (whole, killed)
    ]
    assert scores[0] == scores[1]
    assert [score['step'] for score in scores[0]] == [25, 50, 60]


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """A recipe that saves at its end only, and the output of its training, beside the frames."""
    root = tmp_path_factory.mktemp('uninterrupted')
    write_frames(root)
    values = many_things(root) | {'save_every': 1000, 'steps': 100}
    values['evaluation'] |= {'every': 1000}
    train(parse(values), root, root / 'whole', CPU)
    return values, root / 'whole'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_loses_no_step(
    uninterrupted: tuple[dict, Path], tmp_path: Path, number: signal.Signals
) -> None:
    """The signal reaches the whole group of processes, and twice, as from `timeout`."""
    values, whole = uninterrupted
    root, stopped = whole.parent, tmp_path / 'stopped'
    recipe_file = write_recipe(tmp_path / 'recipe.yaml', values)
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    with begin(recipe_file, root, stopped, workers=1, **pipes) as process:
        try:
            assert any(line.startswith('step 20/100') for line in process.stdout)
            for _ in range(2):
                os.killpg(process.pid, number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    step = SavedState.read(stopped / 'state.safetensors').step
    assert 20 <= step < 100
    end = f'dgss: ended by {number.name} after step {step}; go on from there with --resume.'
    assert end in said.splitlines()
    assert 'Traceback' not in said

    train(parse(values), root, stopped, CPU, resume=True)
    for name in ('state', 'model'):
        assert same(whole / f'{name}.safetensors', stopped / f'{name}.safetensors')


def test_another_memory_layout_resumes_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_frames(tmp_path)
    values = recipe(tmp_path, 'dgss', steps=4, save_every=2, average={'decay': 0.9})
    whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
    hardware = replace(CPU, channels_last=True)
    train(parse(values), tmp_path, whole, hardware)
    save = TrainingState.save

    def stop(state: TrainingState, path: Path, first: bool = True) -> None:
        save(state, path, first)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, 'save', stop)
        with pytest.raises(KeyboardInterrupt):
            train(parse(values), tmp_path, stopped, hardware)
    train(parse(values), tmp_path, stopped, hardware, resume=True)
    assert same(whole / 'state.safetensors', stopped / 'state.safetensors')


def test_moments_get_the_strides_of_their_weights() -> None:
    weight = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last).weight
    optimiser = torch.optim.AdamW([weight], fused=True)
    weight.grad = torch.ones_like(weight)
    optimiser.step()
    moment = torch.arange(weight.numel(), dtype=torch.float32).view(weight.shape)
    optimiser.state[weight]['exp_avg'] = moment
    lay_out(optimiser)
    found = optimiser.state[weight]
    assert found['exp_avg'].stride() == weight.stride() != moment.stride()
    assert torch.equal(found['exp_avg'], moment)
    assert found['step'] == 1


def test_a_folder_in_use_is_not_overwritten(tmp_path: Path) -> None:
    write_frames(tmp_path)
    values, output = recipe(tmp_path, steps=2), tmp_path / 'run'
    train(parse(values), tmp_path, output, CPU, resume=True)  # nothing there: begins
    before = (output / 'state.safetensors').read_bytes()
    with pytest.raises(DgssError, match='--resume, or choose another --output'):
        train(parse(values), tmp_path, output, CPU)
    changed = recipe(tmp_path, steps=2, seed=2, optimiser={'rate': 1e-5})
    with pytest.raises(DgssError, match='begun with another optimiser, seed'):
        train(parse(changed), tmp_path, output, CPU, resume=True)
    train(parse(values), tmp_path, output, CPU, resume=True)  # already at its end: changes nothing
    assert (output / 'state.safetensors').read_bytes() == before


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    write_frames(tmp_path)
    values, output = recipe(tmp_path, steps=2), tmp_path / 'run'
    train(parse(values), tmp_path, output, CPU)
    state = output / 'state.safetensors'
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(DgssError, match=r'state\.safetensors is cut short'):
        train(parse(values), tmp_path, output, CPU, resume=True)
