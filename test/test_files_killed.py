"""Files and folders under kill -9, interruptions, races and a full disk."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import time
from pathlib import Path

import pytest
from boxes import BOX, content, exchanges, fill, kill, python, without_exchange

from dgss_core import files
from dgss_core.files import (
    LOCK,
    NEW,
    OLD,
    STAGING,
    append_line,
    refuse_replacing,
    replacing_folder,
    tidy,
    write_whole,
)

FILL_FOR_EVER = """
import sys
from pathlib import Path
from dgss_core import files
from boxes import fill
if sys.argv[2] == 'False':
    files._rename = lambda source, target, how: False
for text in range(10**6):
    fill(Path(sys.argv[1]), f'{text} ' * 500)
    print(text, flush=True)
"""


@exchanges
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_folder(
    tmp_path: Path, exchange: bool
) -> None:
    box = tmp_path / 'box'
    fill(box, 'old')
    for number in range(8):
        process = python(FILL_FOR_EVER, box, exchange)
        assert process.stdout.readline()
        time.sleep(0.002 * number)
        kill(process)
        tidy(tmp_path)  # what the next run begins with
        assert len(content(box)) == 1
        assert len(list(box.glob('*.txt'))) == 3
    assert os.listdir(tmp_path) == ['box'], 'what killed runs left behind is removed'


def test_a_kill_between_two_renames_is_repaired(tmp_path: Path) -> None:
    """Without an exchange there is a moment at which the old folder is aside."""
    box = tmp_path / 'box'
    fill(box, 'old')
    code = f"""
import os, signal, sys
from pathlib import Path
from dgss_core import files
from boxes import fill
files._rename = lambda source, target, how: False
rename, count = os.rename, 0
def rename_once(source, target):
    rename(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
os.rename = rename_once
fill(Path({str(box)!r}), 'new')
"""
    process = python(code)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert not box.exists()
    refuse_replacing(box, BOX, overwrite=True)
    assert content(box) == {'old'}
    assert os.listdir(tmp_path) == ['box']


def test_an_interruption_between_two_renames_is_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, rename = tmp_path / 'box', os.rename
    fill(box, 'old')
    without_exchange(monkeypatch)

    def interrupted(source: Path, target: Path) -> None:
        rename(source, target)
        if target.parent.name == OLD:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, 'rename', interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(box, 'new')
    assert content(box) == {'old'}
    assert os.listdir(tmp_path) == ['box']


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from dgss_core.files import write_whole
for number in range(10**6):
    write_whole(Path(sys.argv[1]), f'{number:07d}'.encode() * 10000)
    print(number, flush=True)
"""
    path = tmp_path / 'file'
    for number in range(6):
        process = python(code, path)
        assert process.stdout.readline()
        time.sleep(0.002 * number)
        kill(process)
        data = path.read_bytes()
        assert data == data[:7] * 10000
    tidy(tmp_path)
    assert os.listdir(tmp_path) == ['file']


def test_what_others_put_beside_a_file_is_not_followed(tmp_path: Path) -> None:
    victim, shared = tmp_path / 'victim', tmp_path / 'shared'
    victim.mkdir()
    (victim / 'key').write_text('secret')
    staging = shared / f'{files.STAGING}evil'
    staging.mkdir(parents=True)
    (staging / files.LOCK).touch()
    (staging / files.OLD).symlink_to(victim)
    tidy(shared)
    assert (victim / 'key').read_text() == 'secret'
    if os.geteuid() == 0:
        foreign = shared / f'{files.STAGING}foreign'
        (foreign / files.OLD).mkdir(parents=True)
        (foreign / files.LOCK).touch()
        (foreign / files.OLD / 'theirs').touch()
        os.chown(foreign, 4321, 4321)
        tidy(shared)
        assert (foreign / files.OLD / 'theirs').exists()


def test_a_running_writer_keeps_its_staging(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / 'one', BOX) as staged:
        fill(tmp_path / 'two', 'two')
        assert staged.is_dir()
    assert sorted(os.listdir(tmp_path)) == ['one', 'two']


def test_a_folder_that_is_taken_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may tidy between the making of a staging folder and its lock."""
    make, flock, taken = files.tempfile.mkdtemp, fcntl.flock, []

    def make_and_tidy(**options: object) -> str:
        path = make(**options)
        if not taken:
            taken.append(path)
            tidy(tmp_path)
        return path

    def tidy_and_lock(lock: int, how: int) -> None:
        if len(taken) == 1 and not how & fcntl.LOCK_NB:
            taken.append(lock)
            tidy(tmp_path)
        flock(lock, how)

    monkeypatch.setattr(files.tempfile, 'mkdtemp', make_and_tidy)
    monkeypatch.setattr(fcntl, 'flock', tidy_and_lock)
    fill(tmp_path / 'box', 'new')
    assert len(taken) == 2
    assert content(tmp_path / 'box') == {'new'}
    assert os.listdir(tmp_path) == ['box']


def test_without_locks_results_are_written_and_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(lock: int, how: int) -> None:
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', unsupported)
    left = tmp_path / f'{STAGING}left'
    (left / NEW).mkdir(parents=True)
    (left / LOCK).touch()
    fill(tmp_path / 'box', 'new')
    assert content(tmp_path / 'box') == {'new'}
    assert left.is_dir()


def test_a_planted_link_is_not_tidied(tmp_path: Path) -> None:
    (tmp_path / 'home' / NEW).mkdir(parents=True)
    (tmp_path / 'home' / LOCK).touch()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / f'{STAGING}x').symlink_to(tmp_path / 'home')
    tidy(tmp_path / 'out')
    assert sorted(os.listdir(tmp_path / 'home')) == [LOCK, NEW]


def test_on_a_full_disk_nothing_changes(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    path, lines = tmp_path / 'file', tmp_path / 'lines'
    write_whole(path, b'old')
    append_line(lines, 'first')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match='too large'):
            write_whole(path, bytes(5000))
        with pytest.raises(OSError, match='too large'):
            append_line(lines, 'x' * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == b'old'
    assert lines.read_text() == 'first\n'
    assert sorted(os.listdir(tmp_path)) == ['file', 'lines']
