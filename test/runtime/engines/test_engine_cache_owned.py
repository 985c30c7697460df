"""The engine cache touches only what it wrote, and takes nothing unfinished for an engine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from test_engine_cache import WANTED, Builds, obtain

from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.engines.cache import ENGINE, KEY, EngineCache
from dgss_core.runtime.engines.proof import report_path


def test_prune_removes_nothing_that_is_not_ours(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / 'cache')
    obtain(cache, Builds())
    obtain(cache, Builds(), replace(WANTED, version='with notes'))
    folder = cache.folder_of(WANTED)
    noted = cache.folder_of(replace(WANTED, version='with notes'))
    (noted / 'notes.txt').write_text('mine')
    outside = tmp_path / 'outside'
    shutil.copytree(folder, outside / folder.name)
    drive = tmp_path / 'cache' / 'drive'
    drive.mkdir()
    (drive / 'frame.png').write_text('mine')
    (tmp_path / 'cache' / f'linked-tensorrt-{"0" * 16}').symlink_to(outside / folder.name)
    long_ago = time.time() - 40 * 86400
    for path in (drive, noted / KEY, noted, folder / KEY):
        os.utime(path, (long_ago, long_ago))
    assert cache.prune(0, print) == [folder]
    assert (drive / 'frame.png').read_text() == (noted / 'notes.txt').read_text() == 'mine'
    assert (outside / folder.name / ENGINE).read_bytes() == b'engine'


def test_a_report_that_is_used_is_not_pruned(tmp_path: Path, sound: Bundle) -> None:
    cache = EngineCache(tmp_path / 'cache')
    folder = report_path(load_backend(sound, 'onnxruntime', cache_dir=cache.folder), cache).parent
    month_ago = time.time() - 40 * 86400
    os.utime(folder, (month_ago, month_ago))
    load_backend(sound, 'onnxruntime', cache_dir=cache.folder)
    assert cache.prune(30, print) == []
    os.utime(folder, (month_ago, month_ago))
    assert cache.prune(30, print) == [folder]


def test_a_killed_build_is_never_taken_for_an_engine(tmp_path: Path) -> None:
    """It is killed when everything is written and nothing is in place yet."""
    code = f"""
import os, signal
from pathlib import Path
from dgss_core import files
from dgss_core.runtime.engines.cache import EngineCache
from test_engine_cache import WANTED
files._swap = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
EngineCache(Path({str(tmp_path)!r})).obtain(WANTED, lambda: b'engine', print)
"""
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    result = subprocess.run([sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': paths})
    assert result.returncode == -signal.SIGKILL
    cache, build = EngineCache(tmp_path), Builds()
    assert list(tmp_path.rglob(KEY)), 'the killed build had written its key'
    # Earlier versions left folders of this name.
    shutil.copytree(next(tmp_path.rglob(KEY)).parent, tmp_path / '.building-x')
    assert cache.entries() == []
    assert cache.load(WANTED) is None
    obtain(cache, build)
    assert build.count == 1
    cache.prune(30, print)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['.lock', WANTED.folder_name]


def test_the_lock_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / 'letter').write_text('dear')
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache' / '.lock').symlink_to(tmp_path / 'letter')
    lines: list[str] = []
    cache = EngineCache(tmp_path / 'cache')
    assert cache.obtain(WANTED, Builds(), lines.append) == (b'engine', None)
    assert 'cannot be kept' in lines[0]
    assert (tmp_path / 'letter').read_text() == 'dear'


def test_a_user_without_a_home_runs_engines_and_keeps_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', '~')  # as for a user that the system does not know
    with pytest.raises(RuntimeError):
        Path.home()
    lines: list[str] = []
    cache = EngineCache()
    assert cache.obtain(WANTED, Builds(), lines.append) == (b'engine', None)
    assert 'cannot be kept' in lines[0]
    assert cache.entries() == cache.prune(0, print) == []
