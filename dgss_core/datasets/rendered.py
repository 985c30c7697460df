"""Rendered frames that are kept in the cache folder, so that they are rendered once.

    <cache>/<digest>.zip    the frames of a set: image0, labels0, image1, labels1 ...
    <cache>/.lock           who renders which set at this moment

A set is found by the digest of everything that its pictures depend on, so none is out of date. It
appears whole, by one rename. Its parts have checksums, and a damaged set is rendered anew. Those
that were unused for longest are removed when all sets together exceed a limit.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from dgss_core import __version__
from dgss_core.files import cache_folder, write_whole

Frame = tuple[np.ndarray, np.ndarray]
"""Image RGB uint8 (H, W, 3), and labels uint8 (H, W)."""

LOCK = '.lock'
LONGEST_WAIT_S = 60.0
"""Longest wait for a set that another process renders; longer than a set takes."""
_NAME = re.compile(r'[0-9a-f]{64}\.zip')
_LOCK_FORMAT = 'hhqqi4x'
"""`struct flock` of Linux on 64 bits: type, whence, start, length, process."""
_DAMAGED = (
    *(OSError, EOFError, KeyError, ValueError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""What zipfile raises for a file that is none, or no longer whole."""


class RenderedFrames:
    """Sets of frames under `folder`, by default `$XDG_CACHE_HOME/dgss/synthetic`.

    They take at most `limit` bytes together. Several processes and threads may use one folder.
    """

    def __init__(self, limit: int, folder: Path | None = None) -> None:
        self.limit, self.folder = limit, folder or cache_folder('synthetic')
        self._renderer, self._stopped = _renderer(), False

    def frame(
        self, about: object, index: int, size: tuple[int, int], render: Callable[[], list[Frame]]
    ) -> Frame | None:
        """Frame `index` of a set; `render` returns the whole set where it is not kept.

        `about`: what the set depends on beside the code that renders; its `repr` must be the same
        in every process. `size`: (width, height). Returns None where nothing can be kept; after a
        first failure this no longer tries.
        """
        digest = hashlib.sha256(repr((about, self._renderer)).encode()).hexdigest()
        path = self.folder / f'{digest}.zip'
        if (found := _read(path, index, size)) is not None or self._stopped:
            return found
        try:
            with self._lock(int(digest[:15], 16)):
                if (found := _read(path, index, size)) is not None:
                    return found
                frames = render()
                self._keep(path, frames)
                return frames[index]
        except OSError:
            self._stopped = True
            return None

    def sets(self) -> list[Path]:
        """The sets that are kept, the one used last at the end."""
        with suppress(OSError):
            found = [path for path in self.folder.iterdir() if _is_ours(path)]
            return sorted(found, key=lambda path: path.stat().st_mtime_ns)
        return []

    def _keep(self, path: Path, frames: Sequence[Frame]) -> None:
        """Write a set, and remove those that were unused for longest beyond the limit."""
        try:
            write_whole(path, _packed(frames))
        except OSError:
            self._stopped = True
        kept = self.sets()
        with suppress(OSError):  # Another process may remove the same ones.
            sizes = {each: each.stat().st_size for each in kept}
            for each in kept:
                if sum(sizes.values()) > self.limit and each != path:
                    each.unlink(missing_ok=True)
                    del sizes[each]

    @contextmanager
    def _lock(self, place: int) -> Iterator[None]:
        """Lock one byte of the lock file, which stands for a set.

        It only saves work: after `LONGEST_WAIT_S` this goes on without it. The kernel releases it
        if the process dies. Raises OSError where the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise PermissionError(str(self.folder))
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(self.folder / LOCK, flags, 0o600)
        # A lock of the open file: it also keeps threads of one process apart.
        wanted = struct.pack(_LOCK_FORMAT, fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
        end = time.monotonic() + LONGEST_WAIT_S
        try:
            while time.monotonic() < end:
                try:
                    fcntl.fcntl(handle, fcntl.F_OFD_SETLK, wanted)
                    break
                except (BlockingIOError, PermissionError):
                    time.sleep(0.02)
                except OSError:  # A file system without locks.
                    break
            yield
        finally:
            os.close(handle)


@cache
def _renderer() -> tuple[str, ...]:
    """What else the pictures depend on: the code, and the libraries that it calls."""
    code = hashlib.sha256()
    sources = files('dgss_core.synthetic').iterdir()
    for source in sorted(sources, key=lambda source: source.name):
        if source.name.endswith('.py'):
            code.update(source.name.encode() + source.read_bytes())
    return code.hexdigest(), __version__, np.__version__, cv2.__version__, platform.machine()


def _packed(frames: Sequence[Frame]) -> bytes:
    """The images as they are, because noise hardly shrinks; the labels shrink to a twentieth."""
    data = BytesIO()
    with zipfile.ZipFile(data, 'w') as archive:
        for index, (image, labels) in enumerate(frames):
            archive.writestr(f'image{index}', image.tobytes())
            archive.writestr(
                f'labels{index}', labels.tobytes(), zipfile.ZIP_DEFLATED, compresslevel=1
            )
    return data.getvalue()


def _read(path: Path, index: int, size: tuple[int, int]) -> Frame | None:
    """Frame `index` of the set at `path`; None if it is absent or damaged."""
    width, height = size
    try:
        with zipfile.ZipFile(path) as archive:
            parts = []
            for name, shape in (('image', (height, width, 3)), ('labels', (height, width))):
                about = archive.getinfo(f'{name}{index}')
                if about.file_size != np.prod(shape):
                    return None
                part = np.frombuffer(bytearray(archive.read(about)), np.uint8)
                parts.append(part.reshape(shape))
        with suppress(OSError):
            os.utime(path)
    except _DAMAGED:
        return None
    return parts[0], parts[1]


def _is_ours(path: Path) -> bool:
    return bool(_NAME.fullmatch(path.name)) and path.is_file() and not path.is_symlink()
