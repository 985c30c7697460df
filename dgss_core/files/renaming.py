"""Renames that never replace anything, or that exchange two things in one step."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

AT_CWD, NO_REPLACE, EXCHANGE = -100, 1, 2
"""Arguments of renameat2(2)."""
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def rename(source: Path, target: Path, how: int) -> bool:
    """Rename by renameat2; False where the C library or the file system cannot. Raises OSError."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), 'renameat2', None)
    if renameat2 is None:
        return False
    if renameat2(AT_CWD, os.fsencode(source), AT_CWD, os.fsencode(target), how) == 0:
        return True
    error = ctypes.get_errno()
    if error in UNSUPPORTED:
        return False
    raise OSError(error, os.strerror(error), str(target))
