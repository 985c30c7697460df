"""The folder of fetched files: <folder>/<name>/<file>, and pins.json, which pins each of them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dgss_core.documents import read_json
from dgss_core.errors import DgssError, missing_error
from dgss_core.files import flush, no_link, replacing, write_whole
from dgss_core.published.digests import require_published
from dgss_core.published.download import Progress, discard, download, held
from dgss_core.published.entry import PINS, Checkpoint

Examine = Callable[[Path], None]
"""Raises DgssError for a file that must not be used, such as a pickle that needs code."""


@dataclass(frozen=True)
class Pin:
    """What was fetched, and under which terms: later fetches must bring the same bytes."""

    sha256: str
    size: int
    address: str
    terms: str


class Fetched(NamedTuple):
    """A file of the store, and its SHA-256."""

    path: Path
    sha256: str


class Store:
    """Files by entry. Its methods raise DgssError for a `pins.json` that is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, entry: Checkpoint) -> Path:
        """Where the file of an entry is, or will be."""
        return self.folder / entry.name / entry.file

    def pin(self, entry: Checkpoint) -> Pin | None:
        """What was fetched for an entry, if anything was."""
        found = self._read()['files'].get(f'{entry.name}/{entry.file}')
        return None if found is None else Pin(**found)

    def holds(self, entry: Checkpoint) -> bool:
        """Whether the file is there in its full length; `obtain` compares its bytes."""
        pin, path = self.pin(entry), self.path(entry)
        return pin is not None and path.is_file() and path.stat().st_size == pin.size

    def checked(self, entry: Checkpoint) -> str:
        """What `dgss published check` last found at the address, '' if it was not tried."""
        return str(self._read()['addresses'].get(entry.address, ''))

    def note(self, entry: Checkpoint, found: str) -> None:
        """Keep what was found at the address."""
        with self._changing() as content:
            content['addresses'][entry.address] = found

    def obtain(
        self,
        entry: Checkpoint,
        terms: str,
        *,
        given: Path | None = None,
        progress: Progress = lambda done, total: None,
        examine: Examine = lambda path: None,
    ) -> Fetched:
        """The file of an entry; fetched, or copied from `given`, if it is not there.

        The file takes its place only after its size, its digests and `examine` have passed, and
        it is pinned then. One that is there and was damaged is replaced from `given` alone. Raises
        DgssError for a file that does not pass, and as `download` does.
        """
        path, pin = self.path(entry), self.pin(entry)
        if path.is_file():
            try:
                return self._kept(entry, terms, examine)
            except DgssError:
                if given is None:
                    raise
        if given is not None:
            sha256 = self._copy(given, path, entry, pin, examine)
            return self._pinned(entry, sha256, terms)
        part = path.with_name(f'{path.name}.part')
        with held(part) as file:
            if path.is_file():  # Another process has fetched it in between.
                discard(part)
                return self._kept(entry, terms, examine)
            download(entry.address, file, size=entry.size, progress=progress)
            sha256 = self._place(part, path, entry, pin, examine)
        return self._pinned(entry, sha256, terms)

    def _kept(self, entry: Checkpoint, terms: str, examine: Examine) -> Fetched:
        """The file that is there. Raises DgssError if it was damaged or changed."""
        path, pin = self.path(entry), self.pin(entry)
        sha256 = require_published(path, entry, str(path), 'remove it and fetch it again')
        if pin is None:
            examine(path)
            return self._pinned(entry, sha256, terms)
        if sha256 != pin.sha256:
            raise DgssError(
                f'{path} was changed after it was fetched (sha256 {sha256[:12]}..., pinned '
                f'{pin.sha256[:12]}...); remove it and fetch it again.'
            )
        return Fetched(path, sha256)

    def _place(
        self, part: Path, path: Path, entry: Checkpoint, pin: Pin | None, examine: Examine
    ) -> str:
        """Put a whole download in its place; returns its SHA-256."""
        try:
            sha256 = self._require(part, entry, pin, entry.address, examine)
        except DgssError:
            discard(part)
            raise
        try:
            os.replace(part, path)
            flush(path.parent)
        except OSError as error:
            raise DgssError(f'{path} cannot be written: {error}.') from error
        discard(part)
        return sha256

    def _copy(
        self, given: Path, path: Path, entry: Checkpoint, pin: Pin | None, examine: Examine
    ) -> str:
        """Put a copy of `given` in its place; returns its SHA-256."""
        if not given.is_file():
            raise missing_error(
                given, f'There is no {given}; give the path of the file of {entry.name}.'
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as staged:
                shutil.copyfile(given, staged)
                return self._require(staged, entry, pin, str(given), examine)
        except OSError as error:
            raise DgssError(f'{given} cannot be copied to {path}: {error}.') from error

    def _require(
        self, path: Path, entry: Checkpoint, pin: Pin | None, origin: str, examine: Examine
    ) -> str:
        """The SHA-256 of a new file, which is named `origin` in errors.

        Raises DgssError unless it is the published one, the one that was pinned, and passes.
        """
        sha256 = require_published(path, entry, origin)
        if pin is not None and sha256 != pin.sha256:
            raise DgssError(
                f'{origin} is not the file that was fetched first (sha256 {sha256[:12]}..., '
                f'pinned {pin.sha256[:12]}...); ask its publisher what has changed, and to take '
                f'it remove {entry.name} from {self.folder / PINS}.'
            )
        try:
            examine(path)
        except DgssError as error:
            raise DgssError(str(error).replace(str(path), origin)) from error
        return sha256

    def _pinned(self, entry: Checkpoint, sha256: str, terms: str) -> Fetched:
        path = self.path(entry)
        pin = Pin(sha256, path.stat().st_size, entry.address, terms)
        with self._changing() as content:
            content['files'].setdefault(f'{entry.name}/{entry.file}', vars(pin))
        return Fetched(path, sha256)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """The content of `pins.json`, written when the block ends; one process at a time."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.folder / '.lock', 'ab', opener=no_link) as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                content = self._read()
                yield content
                text = json.dumps(content, indent=2, sort_keys=True)
                write_whole(self.folder / PINS, f'{text}\n'.encode())
        except OSError as error:
            raise DgssError(
                f'{self.folder} cannot be written ({error}); choose another --folder.'
            ) from error

    def _read(self) -> dict[str, Any]:
        path = self.folder / PINS
        content = read_json(path) if path.is_file() else {}
        files, addresses = (
            content.get(key, {}) if isinstance(content, dict) else None
            for key in ('files', 'addresses')
        )
        if not isinstance(addresses, dict) or not _are_pins(files):
            raise DgssError(f'{path} holds no pins of fetched files; restore it, or move it away.')
        return {'files': files, 'addresses': addresses}


def _are_pins(files: Any) -> bool:
    return isinstance(files, dict) and all(
        isinstance(pin, Mapping)
        and set(pin) == set(Pin.__dataclass_fields__)
        and all(isinstance(pin[key], str) for key in ('sha256', 'address', 'terms'))
        and type(pin['size']) is int
        for pin in files.values()
    )
