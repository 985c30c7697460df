"""Lock files: one process or thread works while others wait.

A lock saves work and decides nothing: what is written appears whole with or without it. The kernel
releases it if its process dies.
"""

from __future__ import annotations

import fcntl
import math
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_FORMAT = 'hhqqi4x'
"""`struct flock` of Linux on 64 bits: type, whence, start, length, process."""
_PAUSE_S, _REPORT_S = 0.05, 5.0
"""Between two tries, and between two calls of `waiting`."""


@contextmanager
def locked(
    path: Path,
    *,
    longest_s: float,
    place: int | None = None,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[bool]:
    """Hold the lock file at `path`, which is made; yields whether it is held.

    `place`: the byte of the file that is locked, so that one file holds many locks; None locks the
    whole. It also keeps threads of one process apart. This goes on without the lock after
    `longest_s` seconds, and if a process that can only read the file holds it. `waiting` is called
    at once and every 5 seconds of a wait; it may raise.

    Raises OSError if `path` is a link or no regular file, cannot be made, or is on a file system
    without locks.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f'{path.name} is not a regular file')
        yield _wait(handle, place, longest_s, waiting)
    finally:
        os.close(handle)


def _wait(handle: int, place: int | None, longest_s: float, waiting: Callable[[], None]) -> bool:
    start, length = (0, 0) if place is None else (place, 1)
    # A lock of the open file, which only a process that may write the file can take for writing.
    wanted = struct.pack(_FORMAT, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    end, reported_s = time.monotonic() + longest_s, -math.inf
    while True:
        try:
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, wanted)
            return True
        except (BlockingIOError, PermissionError):
            held = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, wanted)
        now = time.monotonic()
        if struct.unpack(_FORMAT, held)[0] == fcntl.F_RDLCK or now > end:
            return False
        if now - reported_s >= _REPORT_S:
            reported_s = now
            waiting()
        time.sleep(_PAUSE_S)
