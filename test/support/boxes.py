"""A kind of folder for the tests of `dgss_core.files`, and processes that write it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dgss_core import files
from dgss_core.files import Kind, replacing_folder

MARK = 'mark'
BOX = Kind('a box', lambda path: '' if (path / MARK).is_file() else 'it has no mark')
exchanges = pytest.mark.parametrize('exchange', [True, False])


def fill(folder: Path, text: str, count: int = 3) -> None:
    with replacing_folder(folder, BOX) as staged:
        (staged / MARK).touch()
        for index in range(count):
            (staged / f'{index}.txt').write_text(text)


def content(folder: Path) -> set[str]:
    return {path.read_text() for path in folder.glob('*.txt')}


def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that cannot exchange two folders in one step."""
    monkeypatch.setattr(files, '_rename', lambda source, target, how: False)


def python(code: str, *arguments: object) -> subprocess.Popen:
    path = os.pathsep.join(sys.path)
    return subprocess.Popen(
        [sys.executable, '-c', code, *map(str, arguments)],
        env={**os.environ, 'PYTHONPATH': path},
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
