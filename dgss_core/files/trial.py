"""Whether a folder can be written to: tried with a file without a name, which leaves no trace."""

from __future__ import annotations

import errno
import os
from pathlib import Path

BLOCK = 4096
"""Bytes that are written: none would also fit on a full disk."""
UNSUPPORTED = (errno.EISDIR, errno.EOPNOTSUPP, errno.EINVAL)
"""Of a kernel or a file system, such as NFS, without such files."""


def try_folder(folder: Path) -> None:
    """Raise OSError if no file can be written in `folder`."""
    try:
        handle = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder) from error
        return
    try:
        os.write(handle, bytes(BLOCK))
    finally:
        os.close(handle)
