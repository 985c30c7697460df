"""What is written reaches the disk before it takes its place."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # Some network file systems cannot flush a folder.
            raise
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """`flush` a folder, and all files and folders in it."""
    for root, _, names in os.walk(folder):
        for name in names:
            if stat.S_ISREG(os.lstat(Path(root) / name).st_mode):
                flush(Path(root) / name)
        flush(Path(root))
