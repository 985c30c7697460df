"""Many drives on a real cluster of Ray with two workers, against the scores of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from evaluated import evaluate, results
from fleets import Killer, require_equal, write_drives
from probe import write_probe_bundle

pytestmark = pytest.mark.skipif(
    find_spec('ray') is None, reason='needs ray: pip install dgss_ros[fleet]'
)


def on_ray(*arguments: object) -> tuple[int, str]:
    """The exit code and the errors of `dgss evaluate`, in a process of its own.

    Nothing that Ray starts or loads then stays in the process of the tests.
    """
    command = [sys.executable, '-m', 'dgss_core', 'evaluate', '--backend', 'onnxruntime']
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=500
    )
    return done.returncode, done.stderr


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray keeps a key in the home folder."""
    (tmp_path / 'home').mkdir()
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))


def test_ray_finds_the_scores_of_one_process_though_a_worker_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert os.environ['RAY_USAGE_STATS_ENABLED'] == '0'
    bundle = write_probe_bundle(tmp_path / 'slow', products=2)
    drives = write_drives(tmp_path / 'drives', frames=12, drives=3)
    given = ('--bundle', bundle, '--resamples', 20, '--threads', 1)
    nowhere = tmp_path / 'nowhere'
    with Killer(tmp_path / 'fleet') as killer:
        code, err = on_ray(
            *given, '--bag', drives, nowhere, '--output', tmp_path / 'fleet',
            '--address', 'local', '--workers', 2,
        )  # fmt: skip
    assert killer.pid is not None, err
    assert code == 1, err
    found = results(tmp_path / 'fleet')
    (problem,) = found['problems']
    assert problem['frames'] == [str(nowhere)]
    assert 'There is no bag' in problem['what']
    times = {frame['milliseconds'] for frame in found['frames']}
    assert {1e3 * seconds for seconds in killer.kept.values()} <= times

    # What Ray predicted is scored again by one process, and predicted again elsewhere.
    assert evaluate(capsys, *given, '--bag', drives, '--output', tmp_path / 'serial')[0] == 0
    assert (
        evaluate(capsys, *given, '--bag', drives, '--output', tmp_path / 'fleet', '--overwrite')[0]
        == 0
    )
    assert {frame['milliseconds'] for frame in results(tmp_path / 'fleet')['frames']} == times
    require_equal(tmp_path / 'fleet', tmp_path / 'serial')


@pytest.mark.parametrize('address', ['127.0.0.1:1', 'ray://127.0.0.1:1', 'auto', 'nonsense'])
def test_no_cluster_is_one_sentence(address: str, tmp_path: Path) -> None:
    output = tmp_path / 'out'
    code, err = on_ray('--data', 'synthetic', '--output', output, '--address', address)
    assert code == 2
    assert 'There is no cluster of Ray' in err
    assert err.count('\n') == 1
