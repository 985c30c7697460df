"""The folder of a training after a kill, a full disk, a failed start, and with others' files."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from shutil import which

import pytest
import torch
import yaml
from fork_server import CONTEXT
from preloaded import start
from safetensors.torch import load_file, save_file
from tiny_training import CPU, parse, recipe, write_frames

from dgss_core.errors import DgssError
from dgss_core.training.loop import train
from dgss_core.training.recipe import source_of
from dgss_core.training.record import Record


@contextmanager
def full_disk(free: int) -> Iterator[None]:
    """A limit on the size of files, in bytes, stands in for a full disk."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)


@pytest.fixture
def begun(tmp_path: Path) -> dict:
    """A recipe of 4 steps that is evaluated and saved twice; its results lie in run."""
    write_frames(tmp_path)
    values = recipe(tmp_path, steps=4, save_every=2)
    values['evaluation'] |= {'every': 2, 'pictures': 0}
    train(parse(values), tmp_path, tmp_path / 'run', CPU)
    return values


def scores(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / 'scores.jsonl').open()]


def test_a_torn_line_of_the_scores_is_cut_off(tmp_path: Path, begun: dict) -> None:
    run = tmp_path / 'run'
    before = scores(run)
    for torn in ('{"step": 4, "on": "fra', '{', '\xe9'):
        with (run / 'scores.jsonl').open('a') as file:
            file.write(torn)
        train(parse(begun), tmp_path, run, CPU, resume=True)
        assert scores(run) == before
    with (run / 'scores.jsonl').open('a') as file:
        file.write('{"on": 1}\n')
    with pytest.raises(DgssError, match='line 3, is no evaluation'):
        train(parse(begun), tmp_path, run, CPU, resume=True)


def test_scores_of_earlier_versions_hold_nan(tmp_path: Path, begun: dict) -> None:
    run = tmp_path / 'run'
    lines = [json.dumps(entry | {'miou': float('nan')}) + '\n' for entry in scores(run)]
    (run / 'scores.jsonl').write_text(''.join(lines))
    assert 'NaN' in lines[0]
    train(parse(begun), tmp_path, run, CPU, resume=True)
    assert [entry['miou'] for entry in scores(run)] == [None, None]


def test_a_full_disk_leaves_every_file_whole(tmp_path: Path, begun: dict) -> None:
    run = tmp_path / 'run'
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    stamp = (run / 'config.yaml').stat().st_mtime_ns
    (run / 'scores.jsonl').write_bytes(before['scores.jsonl'] + b'{"step": ')
    with full_disk(100), pytest.raises(DgssError, match='cannot be written'):
        train(parse(begun), tmp_path, run, CPU, resume=True)
    assert (run / 'config.yaml').read_bytes() == before['config.yaml']
    assert (run / 'origin.jsonl').read_bytes() == before['origin.jsonl']
    train(parse(begun), tmp_path, run, CPU, resume=True)
    assert (run / 'config.yaml').stat().st_mtime_ns == stamp, 'an equal recipe is not rewritten'
    assert (run / 'scores.jsonl').read_bytes() == before['scores.jsonl']
    assert (run / 'best.safetensors').read_bytes() == before['best.safetensors']
    assert not list(run.glob('.dgss*'))


def test_a_lost_recipe_is_written_again(tmp_path: Path, begun: dict) -> None:
    """Earlier versions could leave an empty one."""
    run = tmp_path / 'run'
    whole = (run / 'config.yaml').read_bytes()
    (run / 'config.yaml').write_bytes(b'')
    train(parse(begun), tmp_path, run, CPU, resume=True)
    assert (run / 'config.yaml').read_bytes() == whole


def test_a_training_killed_before_its_first_state_forgets_its_scores(
    tmp_path: Path, begun: dict
) -> None:
    run, before = tmp_path / 'run', scores(tmp_path / 'run')
    (run / 'state.safetensors').unlink()
    lines = [json.dumps(entry | {'miou': 2.0}) + '\n' for entry in before]
    (run / 'scores.jsonl').write_text(''.join(lines))
    train(parse(begun), tmp_path, run, CPU, resume=True)
    assert scores(run) == before


def test_a_failed_start_blocks_nothing(tmp_path: Path) -> None:
    write_frames(tmp_path)
    wrong = recipe(tmp_path, steps=2, weights=str(tmp_path / 'nofile.pth'))
    right = recipe(tmp_path, steps=2)
    for name, resume in (('plain', False), ('resumed', True)):
        with pytest.raises(DgssError, match='nofile'):
            train(parse(wrong), tmp_path, tmp_path / name, CPU)
        train(parse(right), tmp_path, tmp_path / name, CPU, resume=resume)
        assert yaml.safe_load((tmp_path / name / 'config.yaml').read_text())['weights'] is None
        lines = (tmp_path / name / 'origin.jsonl').read_text().splitlines()
        # The first start failed before it knew what it runs on.
        assert [next(iter(json.loads(line))) for line in lines] == ['commit', 'commit', 'runs']


@pytest.mark.parametrize(
    'name', ['model.safetensors', 'best.safetensors', 'config.yaml', 'labels.yaml']
)
@pytest.mark.parametrize('resume', [False, True])
def test_files_of_others_stay(tmp_path: Path, name: str, resume: bool) -> None:
    write_frames(tmp_path)
    run = tmp_path / 'run'
    run.mkdir()
    (run / name).write_text('weights: mine\n')
    with pytest.raises(DgssError, match='another --output'):
        train(parse(recipe(tmp_path, steps=1)), tmp_path, run, CPU, resume=resume)
    assert os.listdir(run) == [name]
    assert (run / name).read_text() == 'weights: mine\n'


def test_a_state_of_another_program_is_refused(tmp_path: Path, begun: dict) -> None:
    state = tmp_path / 'run' / 'state.safetensors'
    tensors = load_file(state)
    for step in ({'step': 'many'}, {'step': '-1'}, {}):
        save_file(tensors, state, {'schema': 'dgss-training/1', **step})
        with pytest.raises(DgssError, match='is no state of a training'):
            train(parse(begun), tmp_path, tmp_path / 'run', CPU, resume=True)


def begin(values: dict, output: Path, begun: Event) -> None:
    record = Record(output, True)
    record.begin(parse(values), CPU, False)
    begun.set()
    signal.pause()


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    """The other process has begun and has no result yet."""
    write_frames(tmp_path)
    values = recipe(tmp_path, steps=1)
    begun = CONTEXT.Event()
    other = start(begin, values, tmp_path / 'run', begun, output=tmp_path / 'log')
    try:
        assert begun.wait(120), (tmp_path / 'log').read_text()
        with pytest.raises(DgssError, match='Another process trains in'):
            train(parse(values), tmp_path, tmp_path / 'run', CPU, resume=True)
    finally:
        other.kill()
        other.join()
    train(parse(values), tmp_path, tmp_path / 'run', CPU, resume=True)


@pytest.mark.skipif(which('git') is None, reason='needs git')
def test_the_origin_is_the_repository_that_holds_the_code(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(['git', '-C', tmp_path, *arguments], check=True, capture_output=True)

    package, other = tmp_path / 'src' / 'package', tmp_path / 'venv' / 'package'
    for folder in (package, other):
        folder.mkdir(parents=True)
        (folder / 'code.py').write_text('x = 1\n')
    (tmp_path / '.gitignore').write_text('venv/\n')
    (tmp_path / 'secret.txt').write_text('theirs\n')
    git('init', '-q')
    git('add', '.')
    git('-c', 'user.name=n', '-c', 'user.email=n@example.org', 'commit', '-qm', 'Begin')
    (tmp_path / 'secret.txt').write_text('their change\n')
    assert source_of(other) == {'commit': None, 'changes': None}
    assert source_of(package)['changes'] == ''
    (package / 'code.py').write_text('x = 2\n')
    found = source_of(package)
    assert len(found['commit'] or '') == 40
    assert '+x = 2' in (found['changes'] or '')
    assert 'their' not in (found['changes'] or '')


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path, begun: dict) -> None:
    run, truth = tmp_path / 'run', tmp_path / 'truth'
    truth.write_text('truth')
    (run / 'best.safetensors').unlink()
    (run / 'best.safetensors').symlink_to(truth)
    (run / 'origin.jsonl').unlink()
    (run / 'origin.jsonl').symlink_to(truth)
    with pytest.raises(DgssError, match='cannot be written'):
        train(parse(begun), tmp_path, run, CPU, resume=True)
    assert truth.read_text() == 'truth'


def test_a_lost_model_of_a_finished_training_is_written_again(
    tmp_path: Path, begun: dict, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / 'run'
    model, best = run / 'model.safetensors', run / 'best.safetensors'
    whole = load_file(model)
    for lose in (Path.unlink, lambda path: path.write_bytes(b'')):
        lose(model)
        best.unlink(missing_ok=True)
        capsys.readouterr()
        train(parse(begun), tmp_path, run, CPU, resume=True)
        said = capsys.readouterr().out
        assert 'All 4 steps are done.' in said
        assert 'into memory' not in said
        assert f'{model} was gone or damaged, and is written again' in said
        assert f'{best}, of step 2, is gone; only a new training can make it.' in said
        again = load_file(model)
        assert again.keys() == whole.keys()
        assert all(torch.equal(again[key], whole[key]) for key in whole)
    assert not best.exists()


def test_a_best_model_of_the_last_step_is_written_again(tmp_path: Path, begun: dict) -> None:
    run = tmp_path / 'run'
    entries = scores(run)
    entries[-1]['miou'] = 0.9
    text = ''.join(json.dumps(entry) + '\n' for entry in entries)
    (run / 'scores.jsonl').write_text(text)
    (run / 'best.safetensors').unlink()
    train(parse(begun), tmp_path, run, CPU, resume=True)
    best, last = (load_file(run / f'{name}.safetensors') for name in ('best', 'model'))
    assert all(torch.equal(best[key], last[key]) for key in last)


def test_an_empty_state_says_what_to_do(tmp_path: Path, begun: dict) -> None:
    (tmp_path / 'run' / 'state.safetensors').write_bytes(b'')
    with pytest.raises(DgssError, match=r'empty, and --resume goes on from it; put a copy of it'):
        train(parse(begun), tmp_path, tmp_path / 'run', CPU, resume=True)


@pytest.mark.parametrize(
    'name', ['config.yaml', 'labels.yaml', 'origin.jsonl', 'state.safetensors', 'scores.jsonl']
)
def test_a_pipe_in_the_folder_is_not_waited_for(tmp_path: Path, begun: dict, name: str) -> None:
    path = tmp_path / 'run' / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DgssError, match=f'{name} is a pipe, not a file; remove it'):
        train(parse(begun), tmp_path, tmp_path / 'run', CPU, resume=True)
    assert path.is_fifo()


def test_the_best_score_is_that_of_the_named_split(tmp_path: Path, begun: dict) -> None:
    record = Record(tmp_path / 'run', True)
    assert record.best('nothing') == -1
    best = max(entry['miou'] for entry in scores(tmp_path / 'run'))
    assert record.best(scores(tmp_path / 'run')[0]['on']) == best
    assert torch.is_tensor(next(iter(load_file(record.best_model).values())))
