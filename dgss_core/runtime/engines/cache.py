"""The engine cache: reuses compiled engines, only on machines where they are valid.

    <cache>/<bundle>-<backend>-<digest of the key>/
        key.json                   everything the engine depends on, and its checksum
        engine                     the engine itself
        verified.json              the proof that it is correct on this machine
        inductor/                  in place of an engine: what PyTorch has compiled
    <cache>/.lock

The digest covers the whole key: after a change of network, library, GPU, driver, precision, shape
or option an old engine is never found. A folder appears by one rename, and folders whose names
begin with a dot are never read, so an interrupted build leaves nothing that looks like an engine.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

from dgss_core.documents import load_json
from dgss_core.errors import DgssError, cause
from dgss_core.files import NEW, STAGING, Kind, replacing_folder, staging_folder, tidy
from dgss_core.files.home import cache_folder
from dgss_core.files.lock import locked
from dgss_core.paths import is_file, reading
from dgss_core.runtime.backend import Report
from dgss_core.runtime.bundle.contents import read_whole
from dgss_core.runtime.key import EngineKey

ENGINE, KEY, REPORT, LOCK = 'engine', 'key.json', 'verified.json', '.lock'
INDUCTOR = 'inductor'
BUILDING = '.building-'
"""Start of the name of what a stopped build of an earlier version left behind."""
LARGEST_DOCUMENT = 1 << 20
"""Bytes of a description or a report in the cache."""
ADVICE = 'give the folder of the engines as --cache-dir'
LOCK_WAIT_S = 1800.0
"""Longest wait for the lock; longer than the longest build."""


@dataclass(frozen=True)
class Entry:
    """One engine in the cache. `sha256`: of the engine. `seconds`: duration of its build. `built`:
    when it was built, in seconds since the epoch."""

    folder: Path
    key: EngineKey
    sha256: str
    seconds: float
    built: float

    @property
    def engine(self) -> Path:
        return self.folder / ENGINE

    @property
    def size(self) -> int:
        return self.engine.stat().st_size

    @property
    def used(self) -> float:
        """When the engine was last loaded, in seconds since the epoch."""
        return (self.folder / KEY).stat().st_mtime

    def read(self) -> bytes | None:
        """The engine; None if the file is missing or its checksum is wrong."""
        try:
            data = read_whole(self.engine)
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != self.sha256:
            return None
        with suppress(OSError):  # The cache may be read-only.
            os.utime(self.folder / KEY)
        return data


class EngineCache:
    """Engines under `folder`, by default under `$XDG_CACHE_HOME/dgss/engines`."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(folder) if folder else cache_folder('engines')
        self._refused: set[Path] = set()

    def folder_of(self, key: EngineKey) -> Path:
        return self.folder / key.folder_name

    def entries(self) -> list[Entry]:
        """Every engine with a readable description, sorted by name."""
        folders = (path.parent for path in sorted(self.folder.glob(f'[!.]*/{KEY}')))
        found = (_read_entry(folder) for folder in folders)
        return [entry for entry in found if entry is not None]

    def damaged(self) -> list[Path]:
        """The folders of engines that lack a part or a readable description.

        Raises DgssError if the cache is no folder, or cannot be read.
        """
        whole = {entry.folder for entry in self.entries() if is_file(entry.engine)}
        parts = {
            path: is_file(path / KEY) or is_file(path / ENGINE) for path in self._own_folders()
        }
        return [path for path, is_engine in parts.items() if is_engine and path not in whole]

    def _is_there(self) -> bool:
        with reading(self.folder, ADVICE):
            if self.folder.exists() and not self.folder.is_dir():
                raise DgssError(f'{self.folder} is no folder; {ADVICE}.')
            return self.folder.exists()

    def _own_folders(self) -> list[Path]:
        if not self._is_there():
            return []
        with reading(self.folder, ADVICE):
            return [path for path in sorted(self.folder.iterdir()) if _is_ours(path)]

    def load(self, key: EngineKey) -> tuple[bytes, Entry] | None:
        """The engine for `key`: the one built here, or else a valid one built ahead of time."""
        exact = _read_entry(self.folder_of(key))
        candidates = chain([exact] if exact else [], self.entries())
        for entry in candidates:
            if not entry.key.can_replace(key) or entry.folder in self._refused:
                continue
            if (data := entry.read()) is not None:
                return data, entry
        return None

    def obtain(
        self,
        key: EngineKey,
        build: Callable[[], bytes],
        report: Report,
        must_keep: bool = False,
    ) -> tuple[bytes, Entry | None]:
        """Return the engine for `key`; call `build` if it is missing or damaged.

        One process builds while others wait for it. An engine that cannot be stored is returned
        with None, and `report` takes the reason; with `must_keep` that raises DgssError.
        """
        if found := self.load(key):
            return found
        with ExitStack() as stack:
            try:
                stack.enter_context(self._lock(report))
            except OSError as error:
                self._report_unstored(error, report, must_keep)
                return build(), None
            if found := self.load(key):
                return found
            start = time.monotonic()
            data = build()
            try:
                return data, self._store(key, data, time.monotonic() - start)
            except (OSError, DgssError) as error:
                self._report_unstored(error, report, must_keep)
                return data, None

    def refuse(self, entry: Entry, key: EngineKey) -> None:
        """Remove `entry` if it was built for `key`; otherwise only ignore it in this process."""
        self._refused.add(entry.folder)
        if entry.key == key and not _why_no_engine(entry.folder):
            # A kill leaves the whole entry or none of it.
            with suppress(OSError), staging_folder(self.folder) as staging:
                os.rename(entry.folder, staging / NEW)
            self._refused.discard(entry.folder)

    def prune(self, days: float, report: Report) -> list[Path]:
        """Remove engines unused for `days`, damaged ones, and remains of interrupted builds.

        Other folders stay. Returns the removed ones. Raises DgssError if one cannot be removed.
        """
        if not self._is_there():
            return []
        oldest = time.time() - days * 86400
        try:
            with self._lock(report):
                tidy(self.folder)
                folders = self._own_folders()
                removed = [path for path in folders if not _is_worth_keeping(path, oldest)]
                for path in removed:
                    shutil.rmtree(path)
                return removed
        except OSError as error:
            raise DgssError(
                f'{self.folder} cannot be tidied ({cause(error)}); run this as the user who owns '
                'it.'
            ) from error

    @contextmanager
    def _lock(self, report: Report) -> Iterator[None]:
        """Lock the cache for this process; the kernel releases the lock if the process dies.

        One lock for all engines, because two builds at once would distort the timing of kernels.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(
            self.folder / LOCK,
            longest_s=LOCK_WAIT_S,
            # The reader of the lines may stop the wait.
            waiting=lambda: report('Another process builds an engine; waiting for it.'),
        ) as held:
            if not held:
                report('Another process holds the lock of the engines; going on without it.')
            yield

    def _store(self, key: EngineKey, data: bytes, seconds: float) -> Entry:
        folder = self.folder_of(key)
        with replacing_folder(folder, STORED) as staging:
            entry = Entry(staging, key, hashlib.sha256(data).hexdigest(), seconds, time.time())
            entry.engine.write_bytes(data)
            about = {name: getattr(entry, name) for name in ('sha256', 'seconds', 'built')}
            (staging / KEY).write_text(json.dumps({**about, 'key': asdict(key)}, indent=2) + '\n')
        return replace(entry, folder=folder)

    def _report_unstored(self, error: Exception, report: Report, must_keep: bool) -> None:
        sentence = (
            f'The engine cannot be kept in {self.folder} '
            f'({getattr(error, "strerror", None) or error}); '
            'free space there, or choose another cache folder.'
        )
        if must_keep:
            raise DgssError(sentence) from error
        report(sentence)


def _read_entry(folder: Path) -> Entry | None:
    """The engine in a folder; None without a description, for a wrong one, and for a link."""
    if folder.is_symlink():
        return None
    try:
        text = read_whole(folder / KEY, LARGEST_DOCUMENT).decode()
        about = load_json(text, str(folder / KEY))
        key = EngineKey(**about.pop('key'))
        entry = Entry(folder, key, **about)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DgssError):
        return None
    texts = (entry.sha256, *asdict(key).values())
    numbers = (entry.seconds, entry.built)
    are_right = all(isinstance(text, str) and text.isprintable() for text in texts) and all(
        type(number) in (int, float) and 0 <= number < 1e12 for number in numbers
    )
    return entry if are_right else None


def _is_ours(folder: Path) -> bool:
    """Whether a folder of the cache is an engine, a proof, or what a stopped build left behind."""
    return not folder.is_symlink() and folder.is_dir() and not _why_no_engine(folder)


def _why_no_engine(folder: Path) -> str:
    if not re.fullmatch(f'[^.].*-[a-z_]+-[0-9a-f]{{16}}|{re.escape(BUILDING)}.*', folder.name):
        return 'its name is not that of an engine'
    for path in folder.iterdir():
        if path.name not in (ENGINE, KEY, REPORT, INDUCTOR) and not path.name.startswith(STAGING):
            return f'it holds {path.name}'
    return ''


STORED = Kind('an engine', _why_no_engine)


def _is_worth_keeping(folder: Path, oldest: float) -> bool:
    """Whether a folder of the cache was used since `oldest` and is not damaged.

    A folder without an engine holds the proof of a backend that builds none.
    """
    if folder.name.startswith(BUILDING):
        return False
    if not (folder / KEY).exists():
        return not (folder / ENGINE).exists() and folder.stat().st_mtime >= oldest
    entry = _read_entry(folder)
    return entry is not None and entry.used >= oldest and entry.read() is not None
