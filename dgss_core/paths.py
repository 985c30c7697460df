"""What is at a path that a user gave: no file, a pipe or a full disk is told in one sentence.

And where the files lie that a config names.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dgss_core.errors import DgssError, cause, dead_link, missing_error, place, require_regular

PIPE_S = 30.0
"""Longest wait for the end of a pipe, which a shell makes for <(command)."""

FILES = {'label_set', 'dataset', 'weights', 'start', 'bank', 'teacher', 'listing'}
"""Keys of a config whose value may be a file."""
FOLDERS = {'sam'}
"""Keys whose value may be a folder, or the name of something on a hub."""
FILE_SUFFIXES = ('.yaml', '.yml', '.safetensors', '.pth', '.pt', '.bin', '.txt')


def is_file(path: Path) -> bool:
    """Whether `path` is a regular file; False also for a path that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """As `is_file`, for a folder."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def status_of(path: Path) -> os.stat_result:
    """The status of a file, or of the link at `path` if its target is gone. Raises OSError."""
    try:
        return path.stat()
    except FileNotFoundError:
        return path.lstat()


def refuse_dead_links(paths: Iterable[Path]) -> None:
    """Raise DgssError for the first of `paths` that is a link whose target is gone."""
    if dead := next(filter(None, map(dead_link, paths)), ''):
        raise DgssError(dead)


def missing(what: str, path: Path, advice: str) -> DgssError:
    """The error for a `path` where `is_file` finds none; says what is there, or why none can be.

    `what`: the kind of file ('checkpoint'), or ''.
    """
    if kind := place(path):
        return DgssError(f'{path} is {kind}, not a file; {advice}.')
    try:
        os.stat(path)
    except (OSError, ValueError) as error:
        if getattr(error, 'errno', 0) not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return DgssError(f'{path} cannot be read ({cause(error)}); {advice}.')
    return missing_error(path, f'There is no {f"{what} " if what else ""}{path}; {advice}.')


@contextmanager
def reading(path: Path, advice: str = 'check the path, the disk and the rights') -> Iterator[None]:
    """Raise DgssError, which names `path`, for an error of the system in the block."""
    try:
        yield
    except OSError as error:
        raise DgssError(f'{path} cannot be read ({cause(error)}); {advice}.') from error


@contextmanager
def writing(
    path: Path, advice: str = 'free some room, or choose another folder'
) -> Iterator[None]:
    """As `reading`, for an output."""
    try:
        yield
    except OSError as error:
        raise DgssError(f'{path} cannot be written ({cause(error)}); {advice}.') from error


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder of temporary files, which is removed at the end of the block.

    An error of the system in the block becomes a DgssError: nothing else is written there.
    """
    try:
        with TemporaryDirectory(prefix='dgss-') as folder:
            yield Path(folder)
    except OSError as error:
        raise DgssError(
            f'The folder of temporary files cannot be written ({cause(error)}); free some room '
            'there, or set TMPDIR to another one.'
        ) from error


def read_bounded(path: Path, largest: int) -> bytes:
    """The first bytes of a file or a pipe, one more than `largest` at most.

    Raises DgssError if it cannot be read, and for a pipe that nobody writes to.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, 'rb') as file:
            if stat.S_ISFIFO(os.fstat(handle).st_mode):
                return _read_pipe(handle, largest + 1)
            require_regular(handle, path)
            return file.read(largest + 1)
    except (OSError, ValueError) as error:
        raise missing_error(
            path, f'{path} cannot be read ({cause(error)}); give a file.'
        ) from error


def _read_pipe(handle: int, most: int) -> bytes:
    """What a process writes into a pipe that does not block, up to `most` bytes or its end."""
    ready, data, end = select.poll(), b'', time.monotonic() + PIPE_S
    ready.register(handle, select.POLLIN)
    while len(data) < most:
        try:
            chunk = os.read(handle, most - len(data))
        except BlockingIOError:
            if not ready.poll(max(0, end - time.monotonic()) * 1000):
                raise OSError(f'it is a pipe that did not end in {PIPE_S:g} s') from None
            continue
        if not chunk:
            break
        data += chunk
    if not data:
        raise OSError('it is a pipe that nobody writes to')
    return data


def located(content: Any, folder: Path, working: Path) -> Any:
    """The content of a config whose files, under `FILES` and `FOLDERS`, lie in `folder`.

    A file that is there becomes its path, so that it is found from anywhere. One that is not is
    left as it is if it lies in the folder `working`, or if its value may be the name of something
    else.
    """
    if isinstance(content, list):
        return [located(entry, folder, working) for entry in content]
    if not isinstance(content, dict):
        return content
    return {
        key: _placed(key, value, folder, working)
        if key in FILES | FOLDERS and isinstance(value, str)
        else located(value, folder, working)
        for key, value in content.items()
    }


def _placed(key: str, value: str, folder: Path, working: Path) -> str:
    beside = folder / value
    if ':' in value or value.startswith('~') or not value:
        return value
    if key in FOLDERS:
        return str(beside) if beside.is_dir() else value
    named = '/' in value or value.endswith(FILE_SUFFIXES)
    if is_file(beside) or (named and not is_file(working / value)):
        return str(beside)
    return value
