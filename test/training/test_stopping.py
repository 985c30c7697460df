"""A signal ends a training after a step, in every process after the same one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_distributed import close, exact_recipe
from tiny_training import CPU, parse, write_frames, write_recipe
from two_processes import run_two, start_two

from dgss_core.training import stopping
from dgss_core.training.loop import train
from dgss_core.training.parallel import build_fabric
from dgss_core.training.state import SavedState


@pytest.fixture
def stop() -> Iterator[stopping.Stopping]:
    with stopping.Stopping(build_fabric(CPU)) as stop:
        yield stop


def test_the_first_signal_waits_for_the_step_and_the_second_does_not(
    stop: stopping.Stopping, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # before the first step
    assert stop.after_step(at_once=False) == 0
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)  # passed on by another process
    assert stop.after_step(at_once=False) == signal.SIGINT
    monkeypatch.setattr(stopping, 'SAME_S', 0.0)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_signal_while_a_saved_model_is_scored_ends_at_once(
    stop: stopping.Stopping, capfd: pytest.CaptureFixture[str]
) -> None:
    assert stop.after_step(at_once=True) == 0
    with pytest.raises(KeyboardInterrupt), stop.saved(7):
        signal.raise_signal(signal.SIGINT)
    assert 'after step 7; go on from there with --resume.' in capfd.readouterr().err


def test_the_signals_are_as_before_after_the_training() -> None:
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    with stopping.Stopping(build_fabric(CPU)) as stop:
        stop.after_step(at_once=False)
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before


@pytest.mark.parametrize('strategy', ['ddp', 'fsdp'])
def test_two_processes_end_after_one_step_if_one_gets_a_signal(
    strategy: str, tmp_path: Path
) -> None:
    write_frames(tmp_path)
    values = exact_recipe(tmp_path, 100) | {'save_every': 1000}
    train(parse(values), tmp_path, tmp_path / 'one', CPU)
    config = write_recipe(tmp_path / 'recipe.yaml', values)
    processes, logs = start_two(config, tmp_path, tmp_path / 'two', strategy)
    deadline = time.monotonic() + 60
    while 'step 20/100' not in logs[0].read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(processes[1].pid, signal.SIGTERM)
    for process in processes:
        process.join(60)
    printed = [log.read_text() for log in logs]
    assert [process.exitcode for process in processes] == [143, 143], printed
    step = SavedState.read(tmp_path / 'two' / 'state.safetensors').step
    assert f'ended by SIGTERM after step {step}' in printed[0]
    assert 20 <= step < 100
    run_two(config, tmp_path, tmp_path / 'two', strategy, '--resume')
    close(tmp_path / 'one' / 'state.safetensors', tmp_path / 'two' / 'state.safetensors')
