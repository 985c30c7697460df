"""Engines are built once, reused only if they are valid, and never stored in part."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from small_networks import write_classifier

from dgss_core.errors import DgssError
from dgss_core.runtime.engines.cache import ENGINE, KEY, EngineCache
from dgss_core.runtime.key import EngineKey

WANTED = EngineKey(
    bundle='street',
    network='0' * 64,
    precision='fp16',
    backend='tensorrt_rtx',
    version='1.7.1.116',
    device='NVIDIA RTX 4090',
    capability='8.9',
    driver='580.82, CUDA 13.0',
    shapes='1..4x448x640',
    options='strongly typed',
)


class Builds:
    """A build function that counts its calls."""

    def __init__(self, data: bytes = b'engine') -> None:
        self.data, self.count = data, 0

    def __call__(self) -> bytes:
        self.count += 1
        return self.data


def obtain(cache: EngineCache, build: Callable[[], bytes], key: EngineKey = WANTED) -> bytes:
    def refuse(line: str) -> None:
        raise AssertionError(line)

    return cache.obtain(key, build, refuse)[0]


def test_an_engine_is_built_once(tmp_path: Path) -> None:
    build = Builds()
    for _ in range(3):
        assert obtain(EngineCache(tmp_path), build) == b'engine'
    assert build.count == 1
    (entry,) = EngineCache(tmp_path).entries()
    assert (entry.key, entry.size) == (WANTED, 6)


@pytest.mark.parametrize('field', [field.name for field in fields(EngineKey)])
def test_every_part_of_the_key_forces_a_build(tmp_path: Path, field: str) -> None:
    cache, build = EngineCache(tmp_path), Builds()
    obtain(cache, build)
    obtain(cache, build, replace(WANTED, **{field: 'another'}))
    assert build.count == 2
    obtain(cache, build)
    assert build.count == 2


def test_an_engine_built_ahead_serves_the_gpus_it_names(tmp_path: Path) -> None:
    cache, build = EngineCache(tmp_path), Builds()
    obtain(cache, build, WANTED.ahead('8.6+8.9'))
    obtain(cache, build, WANTED)
    obtain(cache, build, replace(WANTED, device='another', driver='another'))
    assert build.count == 1
    for change in ({'capability': '12.0'}, {'version': '1.8'}, {'network': '1' * 64}):
        obtain(cache, build, replace(WANTED, **change))
    assert build.count == 4


@pytest.mark.parametrize('damage', ['cut', 'changed', 'gone', 'undescribed'])
def test_a_damaged_engine_is_built_again_once(tmp_path: Path, damage: str) -> None:
    cache, build = EngineCache(tmp_path), Builds()
    obtain(cache, build)
    folder = cache.folder_of(WANTED)
    if damage == 'cut':
        (folder / ENGINE).write_bytes(b'eng')
    elif damage == 'changed':
        (folder / ENGINE).write_bytes(b'energy')
    elif damage == 'gone':
        (folder / ENGINE).unlink()
    else:
        (folder / KEY).write_text('{')
    for _ in range(2):
        assert obtain(EngineCache(tmp_path), build) == b'engine'
    assert build.count == 2


def test_an_engine_that_the_library_refuses_is_removed_or_ignored(tmp_path: Path) -> None:
    cache, build = EngineCache(tmp_path), Builds()
    obtain(cache, build)
    (own,) = cache.entries()
    cache.refuse(own, WANTED)
    obtain(cache, build)
    assert build.count == 2
    cache.refuse(own, WANTED)
    obtain(cache, build, WANTED.ahead('8.9'))
    (ahead,) = cache.entries()
    cache.refuse(ahead, WANTED)
    obtain(cache, build)
    assert build.count == 4
    assert len(cache.entries()) == 2


def test_a_stopped_build_leaves_no_engine(tmp_path: Path) -> None:
    def stopped() -> bytes:
        raise KeyboardInterrupt

    cache = EngineCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        obtain(cache, stopped)
    assert cache.entries() == []
    assert obtain(cache, Builds()) == b'engine'


def test_a_hit_reads_and_hashes_an_engine_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads and hashes an engine of a tenth of a ViT-L in fp16 once, and does nothing else."""
    size, hits = 60 << 20, 20
    cache, build = EngineCache(tmp_path), Builds(os.urandom(size))
    obtain(cache, build)
    sha256, hashed = hashlib.sha256, 0

    def count(data: bytes) -> object:
        nonlocal hashed
        hashed += len(data)
        return sha256(data)

    monkeypatch.setattr(hashlib, 'sha256', count)
    read = bytes_read()
    for _ in range(hits):
        obtain(cache, build)
    assert hits * size <= bytes_read() - read < 1.01 * hits * size
    assert hits * size <= hashed < 1.01 * hits * size
    assert build.count == 1


def bytes_read() -> int:
    """Bytes that this thread has read so far, as counted by the kernel."""
    lines = Path('/proc/thread-self/io').read_text().splitlines()
    return int(dict(line.split(': ') for line in lines)['rchar'])


def test_two_processes_that_build_at_once_build_once(tmp_path: Path) -> None:
    pytest.importorskip('tensorrt_rtx', reason='needs pip install tensorrt-rtx')
    bundle = write_classifier(tmp_path / 'classifier', frames=False).folder
    cache = tmp_path / 'cache'
    command = [sys.executable, '-m', 'dgss_core', 'engine', 'build', '--backend', 'tensorrt_rtx']
    command += ['--bundle', str(bundle), '--gpu', '8.9', '--cache_dir', str(cache)]
    with EngineCache(cache)._lock(print):
        # The lock holds both until both want to build, so neither can be done before the other.
        both = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        waiting = [process.stderr.readline() for process in both]
    assert all('Another process builds an engine' in line for line in waiting), waiting
    printed = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert printed[0] == printed[1]
    (entry,) = EngineCache(cache).entries()
    assert f'built in {entry.seconds:.1f} s' in printed[0]
    assert entry.size > 1000
    assert sorted(path.name for path in cache.iterdir()) == ['.lock', entry.folder.name]


def test_on_a_full_disk_the_engine_is_used_but_not_stored(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    code = f"""
import resource, signal
from pathlib import Path
from dgss_core.runtime.engines.cache import EngineCache
from dgss_core.errors import DgssError
from test_engine_cache import WANTED
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
cache = EngineCache(Path({str(tmp_path / 'cache')!r}))
print(len(cache.obtain(WANTED, lambda: bytes(5000), print)[0]))
try:
    cache.obtain(WANTED, lambda: bytes(5000), print, must_keep=True)
except DgssError as error:
    print('refused:', error)
print(len(list(cache.folder.iterdir())))
"""
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    result = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': paths},
        check=True,
    )
    lines, size, refused, left = result.stdout.splitlines()
    assert lines.startswith('The engine cannot be kept in')
    assert 'File too large' in lines
    assert size == '5000'
    assert refused.startswith('refused: The engine cannot be kept in')
    assert left == '1', 'the lock alone'


def test_in_a_folder_that_cannot_be_written_the_engine_is_used_but_not_stored(
    tmp_path: Path,
) -> None:
    """The parent is a file, so that writing fails for the superuser too."""
    (tmp_path / 'file').touch()
    cache, build, lines = EngineCache(tmp_path / 'file' / 'cache'), Builds(), []
    data, entry = cache.obtain(WANTED, build, lines.append)
    assert (data, entry, build.count) == (b'engine', None, 1)
    assert 'choose another cache folder' in lines[0]
    with pytest.raises(DgssError, match='choose another cache folder'):
        cache.obtain(WANTED, build, lines.append, must_keep=True)
    assert build.count == 1, 'nothing is built that could not be kept'


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that can be made read-only, also when root runs the tests."""
    folder = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:  # Modes do not restrict root.
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    yield folder
    if is_root:
        os.seteuid(0)
    shutil.rmtree(folder)


def test_a_read_only_cache_serves_what_it_holds(read_only: Path) -> None:
    cache, build, lines = EngineCache(read_only), Builds(), []
    obtain(cache, build)
    read_only.chmod(0o555)
    assert obtain(cache, build) == b'engine'
    assert build.count == 1
    other = replace(WANTED, driver='another')
    assert cache.obtain(other, build, lines.append) == (b'engine', None)
    assert 'Permission denied' in lines[0]
    with pytest.raises(DgssError, match='run this as the user who owns it'):
        cache.prune(0, print)
    read_only.chmod(0o755)


def test_prune_removes_the_old_the_damaged_and_the_unfinished(tmp_path: Path) -> None:
    cache, build = EngineCache(tmp_path), Builds()
    keys = [replace(WANTED, version=version) for version in ('new', 'old', 'damaged')]
    for key in keys:
        obtain(cache, build, key)
    long_ago = time.time() - 40 * 86400
    os.utime(cache.folder_of(keys[1]) / KEY, (long_ago, long_ago))
    (cache.folder_of(keys[2]) / ENGINE).write_bytes(b'e')
    (tmp_path / '.building-1').mkdir()
    gone = {path.name for path in cache.prune(30, print)}
    assert gone == {'.building-1', keys[1].folder_name, keys[2].folder_name}
    assert [entry.key for entry in cache.entries()] == [keys[0]]
    assert len(cache.prune(0, print)) == 1
    assert EngineCache(tmp_path / 'absent').prune(0, print) == []


def test_using_an_engine_keeps_it_from_being_pruned(tmp_path: Path) -> None:
    cache, build = EngineCache(tmp_path), Builds()
    obtain(cache, build)
    long_ago = time.time() - 40 * 86400
    for path in (cache.folder_of(WANTED) / KEY, cache.folder_of(WANTED)):
        os.utime(path, (long_ago, long_ago))
    obtain(cache, build)
    assert cache.prune(30, print) == []


def test_the_default_folder_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert EngineCache().folder == tmp_path / 'dgss' / 'engines'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', '/home/robot')
    assert EngineCache().folder == Path('/home/robot/.cache/dgss/engines')


def test_the_folder_is_named_after_bundle_and_backend(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    obtain(cache, Builds(), replace(WANTED, bundle='night / rain'))
    (entry,) = cache.entries()
    assert entry.folder.name.startswith('night___rain-tensorrt_rtx-')
    assert json.loads((entry.folder / KEY).read_text())['key']['driver'] == WANTED.driver
