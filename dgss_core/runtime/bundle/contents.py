"""Files whose bytes are checked as they are read, and a private copy of them.

A path is checked at one time and read at another, and the file may be exchanged in between.
Here the bytes that are hashed are those that the caller gets.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dgss_core.errors import DgssError, cause, open_regular, why_not

SHARED_MEMORY = '/dev/shm'
"""A folder in memory, for a container without a folder of temporary files."""


def read_whole(path: Path, largest: int | None = None) -> bytes:
    """The content of a regular file of at most `largest` bytes.

    Raises OSError for anything else: a pipe or a device could block for ever.
    """
    with _open_regular(path, largest) as (file, size):
        return file.read(size)  # A file that grows meanwhile has no end.


def sha256_of(path: Path) -> str:
    """SHA-256 of a regular file; raises OSError as `read_whole` does."""
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def unreadable(path: Path, error: OSError) -> DgssError:
    """The error for a file of a bundle that cannot be read."""
    denied = isinstance(error, PermissionError)
    remedy = 'allow this user to read it' if denied else 'copy or export the bundle again'
    return DgssError(f'{path} cannot be read ({error.strerror or error}); {remedy}.')


def require_equal(path: Path, found: str, sha256: str) -> None:
    """Raise DgssError if the SHA-256 `found` of the file at `path` is not `sha256`.

    It says what the file is instead, if its first bytes tell.
    """
    if found != sha256:
        if what := why_not(path, 'png'):
            raise DgssError(f'{path} is {what}.')
        raise DgssError(
            f'{path} is not the file its manifest describes (sha256 {found[:12]}..., expected '
            f'{sha256[:12]}...); copy or export the bundle again.'
        )


def read_checked(path: Path, sha256: str) -> bytes:
    """The content of a file; raises DgssError unless its SHA-256 is `sha256`."""
    try:
        data = read_whole(path)
    except OSError as error:
        raise unreadable(path, error) from error
    require_equal(path, hashlib.sha256(data).hexdigest(), sha256)
    return data


def check_files(folder: Path, files: Mapping[str, str], also: str) -> None:
    """Check that `folder` holds `files` (SHA-256 by path), the file `also`, and nothing else.

    Raises DgssError for a file that is missing, not the one described or not listed, and for a
    link that leaves the folder.
    """
    for name, sha256 in files.items():
        path = folder / name
        if not os.path.isfile(path):
            raise DgssError(f'The bundle {folder} lacks {name}; copy the whole folder again.')
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DgssError(
                f'{path} is a link that leaves the bundle; copy the file itself into the bundle.'
            )
        try:
            found = sha256_of(path)
        except OSError as error:
            raise unreadable(path, error) from error
        require_equal(path, found, sha256)
    paths = [path for path in folder.rglob('*') if path.is_symlink() or not path.is_dir()]
    unlisted = {path.relative_to(folder).as_posix() for path in paths} - files.keys() - {also}
    for name in sorted(unlisted):
        raise DgssError(
            f'{folder} holds {name}, which its manifest does not list; remove it, or export the '
            'bundle again.'
        )


@contextmanager
def private_copy(folder: Path, files: Mapping[str, str]) -> Iterator[Path]:
    """A folder that only this user may enter, with `files` of `folder`, until the block ends.

    The files are hashed while they are copied. Raises DgssError if one is not the file with the
    SHA-256 in `files`, and if there is no room for the copy.
    """
    with _scratch(folder) as scratch:
        try:
            for name, sha256 in files.items():
                target = scratch / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, 'xb') as copy:
                    found = _copy(folder / name, copy)
                require_equal(folder / name, found, sha256)
        except OSError as error:
            raise _uncopied(folder, error) from error
        yield scratch


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    try:
        scratch = tempfile.TemporaryDirectory(prefix='dgss-')
    except OSError:
        try:
            scratch = tempfile.TemporaryDirectory(prefix='dgss-', dir=SHARED_MEMORY)
        except OSError as error:
            raise _uncopied(folder, error) from error
    with scratch as name:
        yield Path(name)


def _uncopied(folder: Path, error: OSError) -> DgssError:
    return DgssError(
        f'{folder} cannot be copied to be loaded ({cause(error)}); free space in the folder of '
        'temporary files, or set TMPDIR to another one.'
    )


def _copy(source: Path, target: BinaryIO) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(source):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with _open_regular(path) as (file, left):
        while left and (chunk := file.read(min(left, 1 << 20))):
            left -= len(chunk)
            yield chunk


@contextmanager
def _open_regular(path: Path, largest: int | None = None) -> Iterator[tuple[BinaryIO, int]]:
    """An open file and its size in bytes."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if largest is not None and size > largest:
            raise OSError(errno.EFBIG, f'it has {size} bytes, {largest} may be', str(path))
        yield file, size
