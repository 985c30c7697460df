"""Files and folders that are whole or absent. Only what this package wrote is replaced or removed.

A writer builds its result in a staging folder beside the target, flushes it to the disk, and puts
it in place by one rename. A process that is killed at any moment leaves the old or the new result.
A staging folder is locked while it is in use; the next writer removes one that a kill left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dgss_core.errors import DgssError, cause, require_regular
from dgss_core.files.flushing import flush, flush_tree
from dgss_core.files.renaming import EXCHANGE, NO_REPLACE
from dgss_core.files.renaming import rename as _rename
from dgss_core.files.trial import try_folder
from dgss_core.paths import writing

STAGING = '.dgss-staging-'
"""Start of the name of a staging folder."""
LOCK, NEW, OLD = 'lock', 'new', 'old'
"""What it holds; `old` only where the file system cannot exchange two folders in one step."""

_tidied: set[Path] = set()
"""Folders in which this process has looked for abandoned staging folders before writing a file."""


@dataclass(frozen=True)
class Kind:
    """A kind of result: `name` with its article ('a bundle').

    `why_not` returns the reason why a path is none, '' for one that holds nothing else.
    """

    name: str
    why_not: Callable[[Path], str]


def no_link(path: str | Path, flags: int) -> int:
    """Opener for `open`: refuses a symbolic link, and what is no file, without waiting for it."""
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        require_regular(handle, Path(path))
    except OSError:
        os.close(handle)
        raise
    return handle


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file at `path` atomically: a reader gets the old or the new data."""
    with replacing(path) as staged:
        staged.write_bytes(data)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet. Raises FileExistsError if it does."""
    with replacing(path, new=True) as staged:
        staged.write_bytes(data)


def append_line(path: Path, line: str) -> None:
    """Append one line to a text file and flush it. An error leaves the file as it was."""
    rest = f'{line}\n'.encode()
    with open(path, 'ab', buffering=0, opener=no_link) as file:
        size = file.tell()
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), size)
            raise


@contextmanager
def replacing(path: Path, new: bool = False, beside: Path | None = None) -> Iterator[Path]:
    """Yield a path of the same name; the file written there replaces `path` at once.

    A symbolic link at `path` is replaced, not followed. After an exception the old file is still
    there. With `new`, an existing file is kept and FileExistsError raised. The staging folder is
    made beside `path`, or beside `beside`: a folder around it that must hold nothing else.
    """
    parent = (beside or path).parent
    if parent not in _tidied:
        tidy(parent)
        _tidied.add(parent)
    with staging_folder(parent) as staging:
        staged = staging / NEW / path.name
        yield staged
        staged.chmod((staging / LOCK).stat().st_mode & 0o777)  # Some libraries write 0600.
        flush(staged)
        if not new:
            os.replace(staged, path)
        elif not _rename(staged, path, NO_REPLACE):
            os.link(staged, path)
        flush(path.parent)


@contextmanager
def replacing_folder(
    folder: Path, kind: Kind, *, overwrite: bool = True, inputs: Iterable[Path] = ()
) -> Iterator[Path]:
    """As `replacing` for a whole folder; yields a new, empty folder of the same name.

    Raises DgssError as `refuse_replacing` does, before the block and again after it, and OSError
    where it cannot be written.
    """
    inputs = list(inputs)
    _refuse_replacing(folder, kind, overwrite=overwrite, inputs=inputs)
    folder.parent.mkdir(parents=True, exist_ok=True)
    tidy(folder.parent)
    with staging_folder(folder.parent) as staging:
        content = staging / NEW / folder.name
        content.mkdir()
        yield content
        flush_tree(content)
        _refuse_replacing(folder, kind, overwrite=overwrite, inputs=inputs)
        _swap(content, folder, staging / OLD)
        flush(folder.parent)


def refuse_replacing(
    folder: Path, kind: Kind, *, overwrite: bool, inputs: Iterable[Path] = ()
) -> None:
    """Raise DgssError unless `folder` is absent, or with `overwrite` empty or of this `kind`, and
    can be written.

    `inputs`: what the command reads. The folder must hold none of them, nor the working folder.
    """
    with writing(folder, 'choose another folder'):
        _refuse_replacing(folder, kind, overwrite, inputs)
    refuse_unwritable(folder.parent)


def _refuse_replacing(folder: Path, kind: Kind, overwrite: bool, inputs: Iterable[Path]) -> None:
    tidy(folder.parent)
    if folder.is_symlink():
        raise DgssError(f'{folder} is a link; give the path of the folder that it points to.')
    refuse_inputs(folder, inputs)
    if os.path.lexists(folder) and not overwrite:
        raise DgssError(f'{folder} already exists; choose another folder or pass --overwrite.')
    if not (folder.is_dir() and is_empty(folder)):
        _refuse_other(folder, kind)


def refuse_file(path: Path, kind: Kind, inputs: Iterable[Path] = ()) -> None:
    """Raise DgssError for a file of another `kind`, one of the `inputs`, or an unwritable one."""
    with writing(path, 'choose another file'):
        refuse_inputs(path, inputs)
        _refuse_other(path, kind)
    refuse_unwritable(path.parent)


def refuse_unwritable(folder: Path) -> None:
    """Raise DgssError if nothing can be written in `folder`, or where it would be made.

    A long command calls it first. It tries: permissions do not tell of every file system.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    try:
        try_folder(there)
    except OSError as error:
        raise DgssError(
            f'{folder} cannot be written ({there}: {cause(error)}); choose another output, in a '
            'folder with enough room that you may write to.'
        ) from error


def refuse_inputs(path: Path, inputs: Iterable[Path]) -> None:
    """Raise DgssError if `path` is or holds one of the `inputs` or the working folder."""
    whole = path.resolve()
    with suppress(FileNotFoundError):
        inputs = [*inputs, Path.cwd()]
    for given in inputs:
        if whole == given.resolve() or whole in given.resolve().parents:
            raise DgssError(f'{path} is or holds {given}, which must stay; choose another output.')


def _refuse_other(path: Path, kind: Kind) -> None:
    try:
        why = ''
        if os.path.lexists(path):
            # A pipe would make who reads it wait.
            is_other = path.exists() and not path.is_file() and not path.is_dir()
            why = 'it is no file' if is_other else kind.why_not(path)
    except (OSError, DgssError) as error:
        why = cause(error).rstrip('.')
    if why:
        raise DgssError(
            f'{path} is not {kind.name} ({why}) and is not overwritten; choose another path.'
        )


def is_empty(folder: Path) -> bool:
    """Whether a folder has no entries. What a killed process left is removed."""
    tidy(folder)
    return not any(folder.iterdir())


def tidy(parent: Path) -> None:
    """Remove the staging folders in `parent` whose process has ended.

    If it was killed while it replaced a folder in two steps, the old folder is put back.
    """
    with suppress(OSError):
        with os.scandir(parent) as entries:
            found = [Path(e.path) for e in entries if e.name.startswith(STAGING)]
        for staging in found:
            _remove_abandoned(staging)


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """Yield a new staging folder, which is locked, and removed at the end."""
    folder, lock = _make_staging(parent)
    try:
        (folder / NEW).mkdir()
        yield folder
    finally:
        _remove_staging(folder)
        os.close(lock)


def _make_staging(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=STAGING, dir=parent))
        # Before it is locked, another process may take it for abandoned and remove it.
        with suppress(FileNotFoundError):
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            with suppress(OSError):  # A file system without locks: such a folder is never removed.
                fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / LOCK).exists():
                return folder, lock
            os.close(lock)


def _remove_abandoned(staging: Path) -> None:
    """Remove a staging folder of this user that nobody holds. Raises nothing."""
    with suppress(OSError):
        status = staging.lstat()
        # Others may write to the parent, and make folders of this name.
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            return
        if not os.path.lexists(staging / LOCK):
            staging.rmdir()  # Only an empty one: its owner has not written yet.
            return
        lock = os.open(staging / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_staging(staging)
        finally:
            os.close(lock)


def _remove_staging(staging: Path) -> None:
    """Put back an old folder whose place is empty, and remove the rest; the lock goes last."""
    with suppress(OSError):
        for old in [] if (staging / OLD).is_symlink() else (staging / OLD).iterdir():
            if not os.path.lexists(staging.parent / old.name):
                os.rename(old, staging.parent / old.name)
    for name in (NEW, OLD):
        shutil.rmtree(staging / name, ignore_errors=True)
    if not any(os.path.lexists(staging / name) for name in (NEW, OLD)):
        shutil.rmtree(staging, ignore_errors=True)


def _swap(new: Path, target: Path, old: Path) -> None:
    """Move `new` to `target`; what was there is afterwards at `new` or below `old`."""
    if not os.path.lexists(target):
        os.rename(new, target)
    elif not _rename(new, target, EXCHANGE):
        old.mkdir()
        os.rename(target, old / target.name)
        os.rename(new, target)
