"""Many drives on several processes: the scores of one run, whatever happens to a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from evaluated import evaluate, results
from fleets import (
    Killer,
    dies_once,
    doubling,
    is_running,
    refusing,
    require_equal,
    wait_for_text,
    write_drives,
)
from probe import write_probe_bundle

from dgss_core.errors import DgssError
from dgss_core.evaluation.fleet.on_ray import Cluster, on_ray
from dgss_core.evaluation.fleet.processes import in_processes
from dgss_core.evaluation.fleet.worker import TRIES, Done, Failed
from dgss_core.runtime.bundle import Bundle

SLEEPING = """
import sys
from fleets import sleeping
from dgss_core.evaluation.fleet.processes import in_processes
list(in_processes(sleeping, [sys.argv[1]], 1))
"""


def test_every_item_has_its_outcome() -> None:
    found = dict(in_processes(doubling, [1, -1, 13, 4, 5], workers=2))
    assert found[0] == Done(2)
    assert found[1] == Failed('-1 is negative; give more.')
    assert isinstance(found[2], Failed)
    assert 'ZeroDivisionError: thirteen' in found[2].why
    assert 'fleets.py' in found[2].trace
    assert (found[3], found[4]) == (Done(8), Done(10))


def test_another_process_takes_up_the_item_of_one_that_ended(tmp_path: Path) -> None:
    said: list[str] = []
    found = dict(in_processes(dies_once(tmp_path / 'mark'), [0, 1, 2], 2, said.append))
    assert found == {0: Done(0), 1: Done(2), 2: Done(4)}
    assert said == ['A worker ended (exit code 7); another takes up its work.']


def test_an_item_that_ends_every_process_is_given_up() -> None:
    said: list[str] = []
    found = dict(in_processes(doubling, [666, 1], 1, said.append))
    assert found[1] == Done(2)
    assert isinstance(found[0], Failed)
    assert f'ended {TRIES} times (SIGKILL)' in found[0].why
    assert len(said) == TRIES - 1


def test_work_that_cannot_start_fails_every_item() -> None:
    failed = Failed('There is no model; give one.')
    assert dict(in_processes(refusing, [1, 2], 2)) == {0: failed, 1: failed}


def test_processes_find_the_scores_of_one_run(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    drives = write_drives(tmp_path / 'drives')
    given = ('--bundle', probe_bundle.folder, '--resamples', 20, '--label-next', 2)
    bags = sorted(drives.iterdir())
    code, *_ = evaluate(capsys, *given, '--output', tmp_path / 'serial', '--bag', *bags)
    assert code == 0
    code, out, err = evaluate(
        capsys, *given, '--output', tmp_path / 'fleet', '--bag', drives, '--workers', 2
    )
    assert code == 0, err
    assert 'night' in out
    assert err.count('Runs ') == 1  # Both workers say what they run, and it is printed once.
    require_equal(tmp_path / 'fleet', tmp_path / 'serial')
    pages = [(tmp_path / name / 'report.html').read_text() for name in ('fleet', 'serial')]
    assert pages[0].count('data:image/jpeg') == pages[1].count('data:image/jpeg') > 0
    assert len([*(tmp_path / 'fleet' / 'label_next' / 'JPEGImages').iterdir()]) == 2
    # The stores are those of a single process, which finds every frame predicted.
    times = [frame['milliseconds'] for frame in results(tmp_path / 'fleet')['frames']]
    evaluate(
        capsys, *given, '--output', tmp_path / 'fleet', '--bag', drives, '--overwrite'
    )  # fmt: skip
    assert [frame['milliseconds'] for frame in results(tmp_path / 'fleet')['frames']] == times


def test_the_drive_of_a_killed_process_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_probe_bundle(tmp_path / 'slow', products=2)
    drives = write_drives(tmp_path / 'drives', frames=10, drives=2)
    given = ('--bundle', bundle, '--bag', drives, '--resamples', 20, '--threads', 1)
    with Killer(tmp_path / 'fleet') as killer:
        code, _, err = evaluate(capsys, *given, '--output', tmp_path / 'fleet', '--workers', 2)
    assert killer.pid is not None
    assert code == 0, err
    assert 'A worker ended (SIGKILL); another takes up its work.' in err
    times = [frame['milliseconds'] for frame in results(tmp_path / 'fleet')['frames']]
    assert {1e3 * seconds for seconds in killer.kept.values()} <= {*times}
    assert evaluate(capsys, *given, '--output', tmp_path / 'serial')[0] == 0
    require_equal(tmp_path / 'fleet', tmp_path / 'serial')


def test_a_drive_that_fails_is_named_and_the_others_are_scored(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    drives = write_drives(tmp_path / 'drives', drives=2)
    damaged = next((drives / 'drive0').glob('*.mcap'))
    damaged.write_bytes(b'no recording')
    code, _, err = evaluate(
        capsys, '--bundle', probe_bundle.folder, '--bag', drives, tmp_path / 'nowhere',
        '--output', tmp_path / 'fleet', '--workers', 2, '--resamples', 20,
    )  # fmt: skip
    assert code == 1
    assert 'Traceback' not in err
    found = results(tmp_path / 'fleet')
    assert found['conditions']['all']['frames'] == 7
    assert [source['predicted'] for source in found['sources']] == [0, 7, 0]
    told = {problem['frames'][0]: problem['what'] for problem in found['problems']}
    assert 'There is no bag' in told[str(tmp_path / 'nowhere')]
    assert 'copy it again' in told[str(drives / 'drive0')]


def test_a_mistake_of_all_drives_is_one_sentence(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    drives = write_drives(tmp_path / 'drives', drives=2)
    code, _, err = evaluate(
        capsys, '--bundle', probe_bundle.folder, '--bag', drives, '--topic', '/nothing',
        '--output', tmp_path / 'fleet', '--workers', 2,
    )  # fmt: skip
    assert code == 2
    assert '/nothing' in err
    assert not (tmp_path / 'fleet' / 'results.json').exists()


MISTAKES = {
    'fewer than none': (('--workers', -1), '--workers is -1'),
    'a seed below 0': (('--seed', -1), '--seed is -1; give at least 0'),
    'a tolerance below 0': (('--tolerance', -5), '--tolerance is -5.0'),
    'no tolerance': (('--tolerance', 'nan'), '--tolerance is nan'),
    'frames to label below 0': (('--label-next', -3), '--label-next is -3'),
    'corruptions without one': (('--corruptions',), '--corruptions needs a value'),
    'labels of no bag': (('--labels', 'nope'), '--labels has no effect without --bag'),
    'ids of no masks': (('--mask-labels', 'camvid11'), 'no effect without --predictions'),
    'GPUs of nobody': (('--gpus', 1), 'give its --address too'),
    'no number of GPUs': (('--gpus', 'nan', '--address', 'local'), '--gpus is nan'),
    'too small a part': (('--gpus', 1e-5, '--address', 'local'), 'such as 0.5'),
    'one and a half': (('--gpus', 1.5, '--address', 'local'), 'a whole number'),
    'one data set, spelt twice': (('--data', 'synthetic:'), 'synthetic: is given twice'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistakes_are_one_sentence(
    mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, reason = MISTAKES[mistake]
    code, _, err = evaluate(capsys, '--data', 'synthetic', '--output', tmp_path, *arguments)
    assert code == 2
    assert reason in err


def test_a_bag_counts_once(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    drives = write_drives(tmp_path / 'drives', drives=2)
    code, _, err = evaluate(
        capsys, '--bundle', probe_bundle.folder, '--bag', drives, drives / 'drive1',
        '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 2
    assert 'drive1 is given twice' in err
    recording = next((drives / 'drive0').glob('*.mcap'))
    code, _, err = evaluate(
        capsys, '--bundle', probe_bundle.folder, '--bag', drives, recording,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 2
    assert f'{recording.name} is given twice' in err
    code, _, err = evaluate(
        capsys, '--bundle', probe_bundle.folder, '--bag', recording, drives / 'drive1', drives,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 2
    assert 'is given twice' in err


def test_a_folder_of_masks_belongs_to_one_bag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drives = write_drives(tmp_path / 'drives', drives=2)
    (tmp_path / 'masks').mkdir()
    code, _, err = evaluate(
        capsys, '--predictions', tmp_path / 'masks', '--mask-labels', 'cityscapes19', '--bag',
        drives, '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 2
    assert 'evaluate one bag at a time' in err


def test_workers_end_with_a_command_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, '-c', SLEEPING, str(tmp_path / 'pid')]
    ours = {'PYTHONPATH': os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=os.environ | ours) as process:
        pid = int(wait_for_text(tmp_path / 'pid'))
        os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def test_ray_is_asked_for_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(DgssError, match=r'pip install dgss_ros\[fleet\]'):
        next(on_ray(doubling, [1], Cluster('local')))
