"""One bad file in the cache stops nobody: it is skipped, never followed, never waited for."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from small_networks import write_classifier
from test_engine_cache import WANTED, Builds, obtain

from dgss_core.cli import main
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.engines import RefusedError
from dgss_core.runtime.engines import cache as cache_module
from dgss_core.runtime.engines.cache import ENGINE, KEY, LOCK, EngineCache
from dgss_core.runtime.engines.proof import REPORT, _checksum, report_path

DEEP = '[' * 100_000


def about(**changes: object) -> str:
    """The description of an engine, with changes of its fields or of its key."""
    key = asdict(WANTED) | {name: v for name, v in changes.items() if name in asdict(WANTED)}
    fields = {'sha256': '0' * 64, 'seconds': 1.0, 'built': 1.0, 'key': key}
    return json.dumps(fields | {name: v for name, v in changes.items() if name not in key})


DESCRIPTIONS = [
    *(DEEP, '{"a":' * 100_000, '[]', '{}', 'null', '"text"', '\ud800', '{"key": 3}', ''),
    *(about(seconds=value) for value in ('x', None, -1, True, float('nan'), 1e308)),
    *(about(built=value) for value in ('x', [1], float('inf'))),
    *(about(sha256=value) for value in (3, None, '\x1b[2J')),
    *(about(key=value) for value in (None, [], 'x', {'bundle': 'a'})),
    *(about(capability=value) for value in (8, None, ['8.9'])),
    *(about(bundle=value) for value in (3, '\x1b[31m', 'a\nb', '\x00')),
    about(surprise=1),
    about().replace('"seconds": 1.0', f'"seconds": {"9" * 5000}'),
    about().replace('"seconds": 1.0', '"seconds": 1.0, "seconds": 2.0'),
]


@pytest.mark.parametrize('index', range(len(DESCRIPTIONS)))
def test_a_wrong_description_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture, index: int
) -> None:
    cache, build = EngineCache(tmp_path), Builds()
    for folder in (tmp_path / 'another', cache.folder_of(WANTED)):
        folder.mkdir()
        (folder / KEY).write_text(DESCRIPTIONS[index], errors='surrogatepass')
        (folder / ENGINE).write_bytes(b'x')
    assert obtain(cache, build) == b'engine'
    assert build.count == 1
    assert main(['engine', 'list', '--cache_dir', str(tmp_path)]) == 0
    assert WANTED.bundle in capsys.readouterr().out


@pytest.mark.parametrize('name', [KEY, ENGINE])
@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir, lambda path: os.symlink('/dev/zero', path)])
def test_what_is_no_file_is_skipped_without_a_wait(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    cache, build = EngineCache(tmp_path), Builds()
    obtain(cache, build)
    for folder in (tmp_path / 'another', cache.folder_of(WANTED)):
        folder.mkdir(exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        make(folder / name)
    assert obtain(EngineCache(tmp_path), build) == b'engine'
    assert build.count == 2


def test_a_list_shows_names_as_they_are_and_leaves_out_what_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cache = EngineCache(tmp_path)
    for name in ('[/x]', '[bold]b', 'gone'):
        folder = tmp_path / name.strip('[]/')
        folder.mkdir()
        (folder / KEY).write_text(about(bundle=name))
        if name != 'gone':
            (folder / ENGINE).write_bytes(b'engine')
            (folder / REPORT).write_text(DEEP)
    assert len(cache.entries()) == 3
    assert main(['engine', 'list', '--cache_dir', str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert '[/x]@00000000' in printed
    assert '[bold]b@00000000' in printed
    assert 'gone' not in printed
    assert printed.count('at first use') == 2


def test_a_list_names_what_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cache, build = EngineCache(tmp_path), Builds()
    keys = [replace(WANTED, version=version) for version in ('whole', 'bare', 'torn')]
    for key in keys:
        obtain(cache, build, key)
    whole, bare, torn = map(cache.folder_of, keys)
    (bare / ENGINE).unlink()
    (torn / KEY).write_text('{')
    assert main(['engine', 'list', '--cache_dir', str(tmp_path)]) == 0
    error = capsys.readouterr().err
    assert f'{bare} is damaged; it is built again' in error
    assert f'{torn} is damaged; it is built again' in error
    assert str(whole) not in error


@pytest.mark.parametrize('verb', ['list', 'prune'])
def test_a_file_is_no_cache(tmp_path: Path, capsys: pytest.CaptureFixture, verb: str) -> None:
    (tmp_path / 'file').write_text('')
    assert main(['engine', verb, '--cache_dir', str(tmp_path / 'file')]) == 2
    assert 'file is no folder; give the folder of the engines' in capsys.readouterr().err


REPORTS: list[Callable[[dict], object]] = [
    lambda report: {name: value for name, value in report.items() if name != 'reasons'},
    *(lambda report, v=value: report | {'reasons': v} for value in (3, {'a': 1}, [3], ['\x1b'])),
    *(lambda report, v=value: report | {'gates': v} for value in ({}, [], {'sure': 1})),
    *(lambda report, v=value: report | {'key': v} for value in ([], {}, {'bundle': 3})),
    lambda report: report | {'verdict': 7, 'total': None},
]


@pytest.mark.parametrize('index', range(len(REPORTS)))
def test_a_forged_report_does_not_count(tmp_path: Path, index: int) -> None:
    bundle = write_classifier(tmp_path / 'sound', precision='fp16')
    cache = EngineCache(tmp_path / 'cache')
    path = report_path(load_backend(bundle, 'onnxruntime', cache_dir=cache.folder), cache)
    forged = REPORTS[index](json.loads(path.read_text()))
    path.write_text(json.dumps(forged | {'checksum': _checksum(forged)}))
    load_backend(bundle, 'onnxruntime', cache_dir=cache.folder)
    assert json.loads(path.read_text())['verdict'] == 'passed'


def test_a_report_with_the_right_checksum_counts(tmp_path: Path) -> None:
    """So the tests above would fail for a reader that skips every report."""
    bundle = write_classifier(tmp_path / 'sound', precision='fp16')
    cache = EngineCache(tmp_path / 'cache')
    path = report_path(load_backend(bundle, 'onnxruntime', cache_dir=cache.folder), cache)
    edited = json.loads(path.read_text()) | {'reasons': ['it was tired']}
    path.write_text(json.dumps(edited | {'checksum': _checksum(edited)}))
    with pytest.raises(RefusedError, match='it was tired'):
        load_backend(bundle, 'onnxruntime', cache_dir=cache.folder)


def test_the_folder_of_an_engine_is_no_link(tmp_path: Path) -> None:
    elsewhere, build, lines = EngineCache(tmp_path / 'elsewhere'), Builds(), []
    obtain(elsewhere, build)
    cache = EngineCache(tmp_path / 'cache')
    cache.folder.mkdir()
    cache.folder_of(WANTED).symlink_to(elsewhere.folder_of(WANTED))
    assert cache.entries() == []
    assert cache.load(WANTED) is None
    assert cache.obtain(WANTED, build, lines.append) == (b'engine', None)
    assert 'is a link' in lines[0]
    assert build.count == 2


def test_a_report_is_not_written_behind_a_link(tmp_path: Path) -> None:
    bundle = write_classifier(tmp_path / 'sound', precision='fp16')
    cache, lines = EngineCache(tmp_path / 'cache'), []
    folder = report_path(load_backend(bundle, 'onnxruntime', cache_dir=cache.folder), cache).parent
    (folder / REPORT).unlink()
    folder.rmdir()
    folder.symlink_to(tmp_path / 'letters', target_is_directory=True)
    (tmp_path / 'letters').mkdir()
    (tmp_path / 'letters' / REPORT).write_text('dear')
    load_backend(bundle, 'onnxruntime', cache_dir=cache.folder, report=lines.append)
    assert 'cannot be kept' in lines[0]
    assert (tmp_path / 'letters' / REPORT).read_text() == 'dear'


@pytest.mark.parametrize('make', ['deep', 'pipe', 'folder', 'link'])
def test_a_report_that_cannot_be_read_is_made_again(tmp_path: Path, make: str) -> None:
    bundle = write_classifier(tmp_path / 'sound', precision='fp16')
    cache, lines = EngineCache(tmp_path / 'cache'), []
    path = report_path(load_backend(bundle, 'onnxruntime', cache_dir=cache.folder), cache)
    path.unlink()
    victim = tmp_path / 'victim'
    victim.write_text('ten years of work')
    makers = {
        'deep': lambda: path.write_text(DEEP),
        'pipe': lambda: os.mkfifo(path),
        'folder': path.mkdir,
        'link': lambda: path.symlink_to(victim),
    }
    makers[make]()
    load_backend(bundle, 'onnxruntime', cache_dir=cache.folder, report=lines.append)
    assert victim.read_text() == 'ten years of work'
    assert path.is_file() or 'cannot be kept' in lines[0]


@pytest.mark.parametrize('target', ['victim', 'absent'])
def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path, target: str) -> None:
    victim, lines = tmp_path / 'victim', []
    victim.write_text('ten years of work')
    cache = EngineCache(tmp_path / 'cache')
    cache.folder.mkdir()
    (cache.folder / LOCK).symlink_to(tmp_path / target)
    assert cache.obtain(WANTED, Builds(), lines.append) == (b'engine', None)
    assert 'cannot be kept' in lines[0]
    assert victim.read_text() == 'ten years of work'
    assert not (tmp_path / 'absent').exists()


def test_a_lock_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOCK)
    data, entry = EngineCache(tmp_path).obtain(WANTED, Builds(), lambda line: None)
    assert (data, entry) == (b'engine', None)


@pytest.mark.parametrize('how', ['flock', 'read lock'])
def test_a_process_that_only_reads_the_lock_keeps_nobody_waiting(tmp_path: Path, how: str) -> None:
    (tmp_path / LOCK).touch()
    shared = struct.pack('hhqqi4x', fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    take = {
        'flock': lambda file: fcntl.flock(file, fcntl.LOCK_EX),
        'read lock': lambda file: fcntl.fcntl(file, fcntl.F_OFD_SETLK, shared),
    }
    with open(tmp_path / LOCK) as file:
        take[how](file)
        data, entry = EngineCache(tmp_path).obtain(WANTED, Builds(), lambda line: None)
    assert data == b'engine'
    assert entry is not None


def test_the_wait_for_a_build_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    with EngineCache(tmp_path)._lock(print):
        monkeypatch.setattr(cache_module, 'LOCK_WAIT_S', 0.3)
        data, entry = EngineCache(tmp_path).obtain(WANTED, Builds(), lines.append)
    assert data == b'engine'
    assert entry is not None
    assert [line.partition(';')[0] for line in lines] == [
        'Another process builds an engine',
        'Another process holds the lock of the engines',
    ]


def test_the_lock_is_free_after_a_build_that_was_killed(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from dgss_core.runtime.engines.cache import EngineCache
with EngineCache(Path({str(tmp_path)!r}))._lock(print):
    print('locked', flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b'locked\n'
        process.kill()
        process.wait()
    assert obtain(EngineCache(tmp_path), Builds()) == b'engine'


def test_whoever_takes_the_lines_can_stop_the_wait(tmp_path: Path) -> None:
    def stop(line: str) -> None:
        raise InterruptedError(line)

    cache = EngineCache(tmp_path)
    with cache._lock(print), pytest.raises(InterruptedError, match='Another process builds'):
        EngineCache(tmp_path).obtain(WANTED, Builds(), stop)
    assert obtain(cache, Builds()) == b'engine'
