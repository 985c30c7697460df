"""The files of a dataset, extracted in a folder or inside the downloaded zips."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from dgss_core.errors import DgssError

ARCHIVES = ('.tar', '.tgz', '.tar.gz', '.rar', '.7z')


class Storage:
    """All files under a folder, and all members of the zips in it, by path.

    `root` may also be one zip. If a file exists both extracted and zipped, the extracted one is
    read. Can be passed to worker processes, forked or pickled. Raises DgssError for a missing
    root, a damaged zip, and a folder that holds no files or only other archives.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.exists():
            raise DgssError(f'There is no {self.root}; give the folder or the zip of the dataset.')
        self._places: dict[str, tuple[Path, str | None]] = {}
        self._stamps: dict[str, str] = {}
        self._open: dict[tuple[int, Path], zipfile.ZipFile] = {}
        files = [self.root] if self.root.is_file() else sorted(_walk(self.root))
        for path in files:
            if path != self.root:
                self._add(path.relative_to(self.root).as_posix(), path, None)
        for path in files:
            if path.suffix.lower() == '.zip':
                self._add_members(path)
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
            return path.read_bytes() if member is None else self._zip(path).read(member)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise DgssError(
                f'{self.where(name)} cannot be read ({error}); copy or download it again.'
            ) from error

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
        status = path.stat()
        return f'{status.st_size} {status.st_mtime_ns}'

    def _add(self, name: str, path: Path, member: str | None) -> bool:
        return self._places.setdefault(name, (path, member)) == (path, member)

    def _add_members(self, path: Path) -> None:
        try:
            members = self._zip(path).infolist()
        except (OSError, zipfile.BadZipFile) as error:
            raise DgssError(f'{path} is not a whole zip ({error}); download it again.') from error
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


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith('.')]
        yield from (Path(parent, name) for name in files if not name.startswith('.'))
