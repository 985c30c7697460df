"""Work for the workers of a fleet, drives for it, and a killer of the process that does it."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from evaluated import results
from streets import film

from dgss_core.bags import write_bag
from dgss_core.errors import DgssError
from dgss_core.files import write_whole

ENOUGH = 3
"""Frames that are stored when a worker is killed."""
SAME = (
    'label_set',
    'conditions',
    'drives',
    'retention',
    'bravo',
    'monitor',
    'sources',
    'problems',
)
"""Parts of the results that no worker may change."""


def write_drives(folder: Path, *, frames: int = 6, drives: int = 3) -> Path:
    """Bags `drive0`, `drive1`, ... of day and night, of which the probe bundle errs on none."""
    for number in range(drives):
        condition = 'night' if number % 2 else 'day'
        write_bag(folder / f'drive{number}', film(frames + number, condition))
    return folder


def require_equal(ours: Path, serial: Path) -> None:
    """Both folders hold the same results, to the last count."""
    assert _same(results(ours)) == _same(results(serial))
    with np.load(ours / 'counts.npz') as found, np.load(serial / 'counts.npz') as expected:
        assert expected['confusion'].sum() > 0
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


def _same(results: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on who computed it: everything but times and the command."""
    frames = [{k: v for k, v in f.items() if k != 'milliseconds'} for f in results['frames']]
    return {key: results[key] for key in SAME} | {'frames': frames}


@dataclass
class Killer:
    """Kills, once, the process that writes a store in `folder`, when it holds `ENOUGH` frames.

    `kept`: the frames that were stored by then, and the seconds of the network, by name.
    """

    folder: Path

    def __post_init__(self) -> None:
        self.pid: int | None = None
        self.kept: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._thread.join(30)

    def _run(self) -> None:
        deadline = time.monotonic() + 240
        while self.pid is None and time.monotonic() < deadline:
            time.sleep(0.02)
            for store in (self.folder / 'predictions').glob('*.sqlite'):
                frames = _stored(store)
                pid = _writer_of(store)
                if len(frames) >= ENOUGH and pid is not None:
                    os.kill(pid, signal.SIGKILL)
                    self.pid, self.kept = pid, frames
                    break


def _stored(store: Path) -> dict[str, float]:
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f'file:{store}?mode=ro', uri=True)) as base,
    ):
        return dict(base.execute('SELECT name, seconds FROM frames').fetchall())
    return {}


def _writer_of(file: Path) -> int | None:
    """The id of another process that holds a file open."""
    for process in Path('/proc').glob('[0-9]*'):
        with suppress(OSError):
            held = {os.readlink(entry) for entry in (process / 'fd').iterdir()}
            if str(file) in held and int(process.name) != os.getpid():
                return int(process.name)
    return None


def doubling() -> Callable[[float], float]:
    """Work that fails as it is told to."""

    def double(item: float) -> float:
        if item < 0:
            raise DgssError(f'{item} is negative; give more.')
        if item == 13:
            raise ZeroDivisionError('thirteen')
        if item == 666:
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * item

    return double


def dies_once(mark: Path) -> Callable[[], Callable[[float], float]]:
    """Work whose process ends at the item 1, unless the file `mark` is there."""
    return partial(_once, mark)


def _once(mark: Path) -> Callable[[float], float]:
    def call(item: float) -> float:
        if item == 1 and not mark.exists():
            mark.touch()
            os._exit(7)
        return 2 * item

    return call


def refusing() -> Callable[[float], float]:
    raise DgssError('There is no model; give one.')


def sleeping() -> Callable[[str], None]:
    """Work that writes the id of its process to a file, and does not end."""

    def sleep(file: str) -> None:
        write_whole(Path(file), str(os.getpid()).encode())
        time.sleep(600)

    return sleep


def wait_for_text(file: Path) -> str:
    deadline = time.monotonic() + 240
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return file.read_text()


def is_running(pid: int) -> bool:
    """Whether a process has not ended; one that waits to be collected has."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False
