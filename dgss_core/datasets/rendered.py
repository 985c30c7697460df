"""Rendered frames that are kept in the cache folder, so that they are rendered once.

    <cache>/<digest>.zip    the frames of a set: image0, labels0, image1, labels1 ...
    <cache>/.lock           who renders which set at this moment

A set is found by the digest of everything that its pictures depend on, so none is out of date. It
appears whole, by one rename. Its parts have checksums, and a damaged set is rendered anew. Those
that were unused for longest are removed when all sets together exceed a limit, which is one for
the whole folder: `DGSS_SYNTHETIC_CACHE_GIB`.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import os
import platform
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from dgss_core import __version__
from dgss_core.errors import DgssError, shown
from dgss_core.files import write_whole
from dgss_core.files.home import cache_folder
from dgss_core.files.lock import locked

try:
    from numpy._core._multiarray_umath import __cpu_features__
except ImportError:  # NumPy 1
    from numpy.core._multiarray_umath import __cpu_features__  # type: ignore[no-redef]

Frame = tuple[np.ndarray, np.ndarray]
"""Image RGB uint8 (H, W, 3), and labels uint8 (H, W)."""
T = TypeVar('T')

LIMIT_GIB, DEFAULT_GIB = 'DGSS_SYNTHETIC_CACHE_GIB', 2
"""Environment variable: GiB of all sets together, 0 for none."""
LOCK, FORMAT = '.lock', 1
"""`FORMAT` changes with what a file of a set holds."""
LONGEST_WAIT_S = 60.0
"""Longest wait for a set that another process renders; longer than a set takes."""
PARTS: tuple[tuple[str, tuple[int, ...]], ...] = (('image', (3,)), ('labels', ()))
"""Of a frame, in order, with what follows (H, W) in the shape."""
WAYS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How they are packed."""
_NAME = re.compile(r'[0-9a-f]{64}\.zip')
_NO_LOCKS = (errno.ENOLCK, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system without locks answers."""
_DAMAGED = (
    *(OSError, EOFError, KeyError, ValueError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""What zipfile raises for a file that is none, or no longer whole."""

_log = logging.getLogger(__name__)


def limit_of_folder() -> int:
    """Bytes of all sets together, set by `LIMIT_GIB`. Raises DgssError if that is wrong."""
    text = os.environ.get(LIMIT_GIB) or str(DEFAULT_GIB)
    try:
        size = float(text) * 2**30
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise DgssError(
            f'{LIMIT_GIB} is {shown(text)}: give the GiB of rendered frames to keep, or 0.'
        )
    return int(size)


@cache
def shared_frames(limit: int, folder: Path) -> RenderedFrames:
    """The one of this process for a folder, so that all datasets know what it has used there."""
    return RenderedFrames(limit, folder)


class RenderedFrames:
    """Sets of frames under `folder`, by default `$XDG_CACHE_HOME/dgss/synthetic`.

    They take at most `limit` bytes together. Several processes and threads may use one folder.
    `stopped`: why no more is kept, '' while it is. Sets that are there are still read then. A
    warning tells the reason once: an error, or that a set would have to go which this has used.
    """

    def __init__(self, limit: int, folder: Path | None = None) -> None:
        self.limit, self.folder, self.stopped = limit, folder or cache_folder('synthetic'), ''
        self._used: set[Path] = set()

    def frame(
        self, about: object, index: int, size: tuple[int, int], render: Callable[[], list[Frame]]
    ) -> Frame | None:
        """Frame `index` of a set; `render` returns the whole set where it is not kept.

        `about`: what the set depends on beside the code that renders; its `repr` must be the same
        in every process. `size`: (width, height). Returns None where nothing can be kept.
        """
        found = self._obtain(about, index, size, render, slice(0, 2))
        return (found[0], found[1]) if found else None

    def labels(
        self, about: object, index: int, size: tuple[int, int], render: Callable[[], list[Frame]]
    ) -> np.ndarray | None:
        """As `frame`, only the labels, uint8 (H, W)."""
        found = self._obtain(about, index, size, render, slice(1, 2))
        return found[0] if found else None

    def sets(self) -> list[Path]:
        """The sets that are kept, the one used last at the end."""
        return [*self._stats()]

    def _stats(self) -> dict[Path, os.stat_result]:
        found = {}
        with suppress(OSError):
            for path in self.folder.iterdir():
                with suppress(FileNotFoundError):  # Another process may remove it.
                    if _is_ours(path):
                        found[path] = path.stat()
        return dict(sorted(found.items(), key=lambda item: item[1].st_mtime_ns))

    def _obtain(
        self,
        about: object,
        index: int,
        size: tuple[int, int],
        render: Callable[[], list[Frame]],
        wanted: slice,
    ) -> list[np.ndarray] | None:
        """The `wanted` of `PARTS` of a frame, in order."""
        digest = hashlib.sha256(repr((about, RENDERER)).encode()).hexdigest()
        path = self.folder / f'{digest}.zip'
        if (found := self._read(path, index, size, wanted)) or self.stopped:
            return found
        with ExitStack() as stack:
            try:
                _again(lambda: stack.enter_context(self._lock(int(digest[:15], 16))))
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    self._stop_for(error)
                    return None
            if found := self._read(path, index, size, wanted):
                return found
            frames = render()
            self._keep(path, frames)
            return list(frames[index][wanted])

    def _read(
        self, path: Path, index: int, size: tuple[int, int], wanted: slice
    ) -> list[np.ndarray] | None:
        if (found := _read(path, index, size, wanted)) is not None:
            self._used.add(path)
        return found

    def _keep(self, path: Path, frames: Sequence[Frame]) -> None:
        """Write a set; those that were unused for longest make room for it."""
        data = _packed(frames)
        try:
            if self._make_room(path, len(data)):
                _again(lambda: self._write(path, data))
        except OSError as error:
            self._stop_for(error)

    def _make_room(self, path: Path, size: int) -> bool:
        """Remove sets for one of `size` bytes; False if one would have to go that this has used.

        Sets that come and go would be rendered again and again.
        """
        sizes = {each: stat.st_size for each, stat in self._stats().items() if each != path}
        over, old = sum(sizes.values()) + size - self.limit, []
        for each, taken in sizes.items():
            if over > 0:
                old.append(each)
                over -= taken
        if over > 0 or self._used.intersection(old):
            self._stop(
                f'The rendered frames that this process reads take more than '
                f'{self.limit / 2**30:g} GiB, so no more are kept in {self.folder}; '
                f'set {LIMIT_GIB} to more.'
            )
            return False
        for each in old:
            each.unlink(missing_ok=True)
        return True

    def _write(self, path: Path, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
        self._used.add(path)

    def _lock(self, place: int) -> AbstractContextManager[bool]:
        """The lock of one byte of the lock file, which stands for a set.

        Raises OSError where the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return locked(self.folder / LOCK, place=place, longest_s=LONGEST_WAIT_S)

    def _stop_for(self, error: OSError) -> None:
        self._stop(
            f'Rendered frames cannot be kept in {self.folder} ({error.strerror or error}), so '
            'each is rendered alone; free space there, or set XDG_CACHE_HOME to a folder you can '
            'write to.'
        )

    def _stop(self, reason: str) -> None:
        if not self.stopped:
            self.stopped = reason
            _log.warning(reason)


def _again(step: Callable[[], T]) -> T:
    """The result of `step`, which is tried again if the folder was deleted in between."""
    try:
        return step()
    except FileNotFoundError:
        return step()


def _renderer() -> tuple[object, ...]:
    """What else pictures depend on: code, libraries, and the instructions these choose from."""
    code = hashlib.sha256()
    datasets = files('dgss_core.datasets')
    sources = [datasets / 'rendered.py', datasets / 'synthetic.py']
    sources += files('dgss_core.synthetic').iterdir()
    for source in sorted(sources, key=lambda source: source.name):
        if source.name.endswith('.py'):
            code.update(source.name.encode() + source.read_bytes())
    features = [name for name, has in sorted(__cpu_features__.items()) if has]
    machine = (platform.machine(), *features, cv2.getCPUFeaturesLine())
    return FORMAT, code.hexdigest(), __version__, np.__version__, cv2.__version__, machine


RENDERER = _renderer()
"""Taken at import, so that it tells of the code that runs, not of a later change of the files."""


def _packed(frames: Sequence[Frame]) -> bytes:
    """The images as they are, because noise hardly shrinks; the labels shrink to a twentieth."""
    data = BytesIO()
    with zipfile.ZipFile(data, 'w') as archive:
        for index, frame in enumerate(frames):
            for (name, _), part, way in zip(PARTS, frame, WAYS, strict=True):
                # A ZipInfo has a fixed date; zip has none for a clock that stands before 1980.
                about = zipfile.ZipInfo(f'{name}{index}')
                archive.writestr(about, part.tobytes(), way, compresslevel=1)
    return data.getvalue()


def _read(path: Path, index: int, size: tuple[int, int], wanted: slice) -> list[np.ndarray] | None:
    """The `wanted` of `PARTS` of frame `index` of the set at `path`.

    None if one is absent or damaged.
    """
    width, height = size
    parts = []
    try:
        with zipfile.ZipFile(path) as archive:
            for name, rest in PARTS[wanted]:
                about, shape = archive.getinfo(f'{name}{index}'), (height, width, *rest)
                if about.file_size != np.prod(shape):
                    return None
                part = np.frombuffer(bytearray(archive.read(about)), np.uint8)
                parts.append(part.reshape(shape))
        with suppress(OSError):
            os.utime(path)
    except _DAMAGED:
        return None
    return parts


def _is_ours(path: Path) -> bool:
    return bool(_NAME.fullmatch(path.name)) and path.is_file() and not path.is_symlink()
