"""The files of a dataset, extracted in a folder or inside the downloaded zips."""

from __future__ import annotations

import errno
import lzma
import os
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from dgss_core.errors import DgssError, cause, dead_link, missing_error
from dgss_core.paths import is_file, is_folder, missing, status_of

LARGEST_FILE = 1 << 29
"""Bytes of an image, a label file or a list; a zip of a few kilobytes can hold more."""
MOST_VISITS = 16
DEEPEST = 100
DAMAGED = (
    *(OSError, EOFError, ValueError, RuntimeError, OverflowError, struct.error),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
_FILE = re.compile(r'\.[A-Za-z]\w{1,4}$')
"""How the name of a file ends, and hardly that of a folder."""
ARCHIVES = ('.tar', '.tgz', '.tar.gz', '.rar', '.7z')


class Storage:
    """All files under a folder, and all members of the zips in it, by path.

    `root` may also be one zip. If a file exists both extracted and zipped, the extracted one is
    read. A link whose target is gone counts as a file that cannot be read. Can be passed to
    worker processes, forked or pickled. Raises DgssError for a missing root, a damaged zip, and a
    folder that holds no files or only other archives.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not is_file(self.root) and not is_folder(self.root):
            raise missing('', self.root, 'give the folder or the zip of the dataset')
        self._places: dict[str, tuple[Path, str | None]] = {}
        self._stamps: dict[str, str] = {}
        self._open: dict[tuple[int, Path], zipfile.ZipFile] = {}
        dead: list[Path] = []
        files = [self.root] if self.root.is_file() else sorted(_walk(self.root, dead))
        for path in files:
            if path != self.root:
                self._add(path.relative_to(self.root).as_posix(), path, None)
        for path in files:
            if path.suffix.lower() == '.zip':
                self._add_members(path)
        self._dead: dict[str, Path] = {}
        for path in sorted(dead):
            name = path.relative_to(self.root).as_posix()
            if self._add(name, path, None):
                self._dead[name] = path
            if path.suffix.lower() == '.zip':
                raise DgssError(dead_link(path))
        if not self._places:
            raise DgssError(f'{self.root} holds no files; {self.advice}')

    @property
    def names(self) -> list[str]:
        """Paths of all files, with forward slashes, relative to the root or to their zip."""
        return list(self._places)

    @property
    def advice(self) -> str:
        """What to do about a missing file, as the end of a sentence."""
        packed = [n for n in (self.root.name, *self._places) if n.lower().endswith(ARCHIVES)]
        if packed:
            return f'extract {packed[0]}, only zips are read without that.'
        return 'give the folder that holds the extracted dataset or its zips.'

    def find(self, ending: str) -> str | None:
        """The first file whose path ends with `ending`, in whole names."""
        return next((name for name in self._places if f'/{name}'.endswith(f'/{ending}')), None)

    def read(self, name: str) -> bytes:
        """Read a file; DgssError if it is missing, cut short or fails its checksum."""
        path, member = self._place(name)
        try:
            info = self._zip(path).getinfo(member) if member is not None else None
            size = info.file_size if info else path.stat().st_size
            if size > LARGEST_FILE:
                raise OSError(f'it holds {size} bytes, more than any file of a dataset')
            return path.read_bytes() if member is None else self._zip(path).read(member)
        except DAMAGED as error:
            raise missing_error(
                path,
                f'{self.where(name)} cannot be read ({cause(error)}); copy or download it again.',
            ) from error

    def refuse_dead_folders(self, patterns: Sequence[re.Pattern[str]]) -> None:
        """Raise DgssError for a link without a target that may be a folder of these patterns."""
        for name, path in self._dead.items():
            if not _FILE.search(name) and any(pattern.match(name) for pattern in patterns):
                raise DgssError(dead_link(path))

    def size(self, name: str) -> int:
        """Bytes of a file; DgssError if it is missing."""
        return int(self.stamp(name).split()[0])

    def where(self, name: str) -> str:
        """The path of a file for messages, ZIP:MEMBER inside a zip."""
        if name not in self._places:
            return str(self.root / name)
        path, member = self._places[name]
        return str(path) if member is None else f'{path}:{member}'

    def stamp(self, name: str) -> str:
        """Changes with the file: size and checksum in a zip, size and time in a folder."""
        path, member = self._place(name)
        if member is not None:
            return self._stamps[name]
        try:
            status = status_of(path)
        except OSError as error:
            raise DgssError(f'{path} cannot be read ({cause(error)}); copy it again.') from error
        return f'{status.st_size} {status.st_mtime_ns}'

    def _add(self, name: str, path: Path, member: str | None) -> bool:
        return self._places.setdefault(name, (path, member)) == (path, member)

    def _add_members(self, path: Path) -> None:
        try:
            members = self._zip(path).infolist()
        except DAMAGED as error:
            raise DgssError(
                f'{path} is not a whole zip ({cause(error)}); download it again.'
            ) from error
        for info in members:
            member = PurePosixPath(info.filename)
            # For example __MACOSX/._NAME, which macOS adds for every file.
            hidden = any(part.startswith('.') for part in member.parts)
            name = member.as_posix()
            if not info.is_dir() and not hidden and self._add(name, path, info.filename):
                self._stamps[name] = f'{info.file_size} {info.CRC:08x}'

    def _place(self, name: str) -> tuple[Path, str | None]:
        try:
            return self._places[name]
        except KeyError:
            raise DgssError(f'{self.where(name)} is missing; {self.advice}') from None

    def _zip(self, path: Path) -> zipfile.ZipFile:
        # Forked processes share file positions, so each process opens its own file.
        key = os.getpid(), path
        if key not in self._open:
            self._open[key] = zipfile.ZipFile(path)
        return self._open[key]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {'_open': {}}


GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""A folder that is not there any more, or is no folder."""


def _walk(
    folder: Path,
    dead: list[Path],
    above: tuple[tuple[int, int], ...] = (),
    seen: Counter | None = None,
) -> Iterator[Path]:
    """The regular files below a folder; links that lead back up are not followed.

    Links whose target is gone are added to `dead`.

    `above`: the folders that hold this one. `seen`: visits of each folder; links may show one at
    several places, but not so often that the number of paths explodes.
    """
    seen = Counter() if seen is None else seen
    if len(above) > DEEPEST:
        raise DgssError(f'{folder} lies more than {DEEPEST} folders deep; move the dataset up.')
    try:
        status = folder.stat()
        own = status.st_dev, status.st_ino
        seen[own] += 1
        if own in above or seen[own] > MOST_VISITS:
            return
        with os.scandir(folder) as scan:
            entries = [entry for entry in scan if not entry.name.startswith('.')]
    except OSError as error:
        if error.errno in GONE:
            return
        raise DgssError(
            f'{folder} cannot be read ({cause(error)}); get the rights to read it, or mount it '
            'again: its frames would be left out.'
        ) from error
    below = []
    for entry in entries:
        with suppress(OSError):
            if entry.is_dir():
                below.append(entry.path)
            elif entry.is_file():
                yield Path(entry.path)
            elif dead_link(Path(entry.path)):
                dead.append(Path(entry.path))
    for path in sorted(below):
        yield from _walk(Path(path), dead, (*above, own), seen)
