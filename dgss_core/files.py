"""Atomic writes, and the cache folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """`$XDG_CACHE_HOME/dgss/<kind>`; ~/.cache is the default."""
    home = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(home) / 'dgss' / kind


def flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; the file written there replaces `path` at once.

    A reader sees the old data or the new. After an exception the old file is still there.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    os.close(handle)
    staging = Path(name)
    try:
        yield staging
        flush(staging)
        staging.chmod(0o644)
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path, prefix: str | None = None) -> Iterator[Path]:
    """As `replacing` for a whole folder. `prefix`: of the temporary folder's name."""
    prefix = f'.{folder.name}.' if prefix is None else prefix
    staging = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        staging.chmod(0o755)
        yield staging
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file at `path` atomically: a reader gets the old or the new data."""
    with replacing(path) as staging:
        staging.write_bytes(data)
