"""A bag that is opened once, and asked for everything: its summary and its messages."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

from dgss_core.bags import mcap_file, sqlite_file
from dgss_core.bags.compression import ZSTD, unpack_file
from dgss_core.bags.metadata import (
    METADATA,
    Metadata,
    files_of,
    is_metadata,
    is_stored,
    read_metadata,
)
from dgss_core.bags.stored import MOST_FAULTS, BagMessage, Lost, StorageFile
from dgss_core.bags.topics import (
    BagTopic,
    merged_topics,
    rate_of,
    typed_by_files,
    why_short,
)
from dgss_core.errors import (
    DgssError,
    IncompleteError,
    plain,
    read_head,
    what_it_is,
    why_not,
)
from dgss_core.paths import missing

TOLD = 5
"""Faults in a sentence; more are counted only."""
LONGEST_GAP_NS = 3600 * 10**9
"""A pause that is longer is taken for a clock that jumped."""
UNITS = (('years', 31_557_600), ('days', 86_400), ('hours', 3600), ('min', 60), ('s', 1))
"""Of time, in seconds."""
PAUSE_NS = 10 * 10**9
"""A pause that is longer is worth a word."""


@dataclass(frozen=True)
class BagInfo:
    """Summary of a bag; `size` in bytes, `start_ns` since the epoch.

    `gaps`: pauses of more than an hour, as time of the message before and length, in nanoseconds.
    `pause`: the longest other one of more than `PAUSE_NS`, which may be meant. `faults`: what
    keeps the bag from being read whole, and what to do. `notes`: what is wrong with it otherwise.
    """

    path: Path
    storage: str
    size: int
    start_ns: int
    duration_ns: int
    topics: tuple[BagTopic, ...]
    gaps: tuple[tuple[int, int], ...] = ()
    pause: tuple[int, int] | None = None
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Bag:
    """A bag folder or storage file. What is compressed as a file is unpacked once, until it ends.

    `topics` has one entry for each name and type. `faults`: what keeps it from being read whole,
    as far as that is known without reading it. `notes`: what else is wrong, a sentence each.
    Raises DgssError if nothing of it can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with _reading(self.path):
            if not self.path.exists():
                advice = 'give a bag folder or an .mcap or .db3 file'
                raise missing('bag', self.path, advice)
            self._open()

    def _open(self) -> None:
        metadata = Metadata()
        paths, faults = [self.path], list[str]()
        if self.path.is_dir():
            metadata = read_metadata(self.path)
            paths, faults = files_of(self.path, metadata)
        self._files: list[StorageFile] = []
        refused = []
        for path in paths:
            try:
                file = self._open_file(path, faults)
            except DgssError as error:
                refused.append(error)
                faults.append(str(error).rstrip('.'))
                continue
            self._files.append(file)
            faults += file.faults
            held, counted = sum(t.count for t in file.topics), metadata.counts.get(path.name, 0)
            if held < counted:
                faults.append(
                    f'{plain(path.name)} holds {held} of {counted} messages; copy it again'
                )
        if not self._files:
            raise refused[0]
        spans = [(f.start_ns, f.end_ns) for f in self._files if any(t.count for t in f.topics)]
        self.start_ns = min((start for start, _ in spans), default=0)
        self.duration_ns = max((end for _, end in spans), default=0) - self.start_ns
        named, others = typed_by_files(metadata.topics, self._files)
        self.notes = [
            f'{self.path / METADATA} says that {plain(t.name)} is {plain(t.msgtype)}, which it is '
            'not in the files; they are trusted, and ros2 bag reindex writes it anew.'
            for t in others
        ]
        self.topics = merged_topics(named, self._files, self.duration_ns)
        if (found := sum(topic.count for topic in self.topics)) < metadata.total:
            faults.append(f'{found} of {metadata.total} messages in {METADATA} are there')
        self.faults = faults

    def info(self) -> BagInfo:
        """Summarise the bag."""
        pauses = [*self._pauses()]
        gaps = tuple(pause for pause in pauses if pause[1] > LONGEST_GAP_NS)
        pause = max((p for p in pauses if p not in gaps), key=itemgetter(1), default=None)
        length_ns = self.duration_ns - sum(gap for _, gap in gaps)
        short = [(t.name, t.stored, t.count) for t in self.topics if t.stored < t.count]
        files = [self.path] if self.path.is_file() else self.path.iterdir()
        return BagInfo(
            path=self.path,
            storage=self._files[0].storage,
            size=sum(file.stat().st_size for file in files if file.is_file()),
            start_ns=self.start_ns,
            duration_ns=self.duration_ns,
            topics=tuple(replace(t, rate=rate_of(t.count, length_ns)) for t in self.topics),
            gaps=gaps,
            pause=pause,
            faults=tuple(_few(why_short(short, self.faults))),
            notes=tuple(self.notes),
        )

    def messages(
        self,
        topics: Collection[str] | None = None,
        on_short: Callable[[IncompleteError], object] | None = None,
        on_lost: Lost = lambda topic, count: None,
    ) -> Iterator[BagMessage]:
        """Iterate the messages of `topics` (None: all) in the order of recording.

        A file in which that order is not kept is read in its own. `on_short` is called at the end
        if the bag holds less than it promises, or not all of it can be read; None raises.
        `on_lost` is called where messages may be lost.
        """
        wanted = {t.name for t in self.topics if topics is None or t.name in topics}
        faults = dict.fromkeys(self.faults)
        came: Counter[str] = Counter()
        for message in self._messages(wanted, faults, on_lost):
            came[message.topic] += 1
            yield message
        promised: Counter[str] = Counter()
        for topic in self.topics:
            promised[topic.name] += topic.count if topic.name in wanted else 0
        short = [(name, came[name], n) for name, n in promised.items() if n > came[name]]
        if short or faults:
            reasons = '; '.join(_few(why_short(short, faults)))
            missing = sum(wanted - there for _, there, wanted in short)
            error = IncompleteError(f'{self.path} is incomplete: {reasons}.', missing)
            if on_short is None:
                raise error
            on_short(error)

    def _messages(
        self, topics: set[str], faults: dict[str, None], lost: Lost
    ) -> Iterator[BagMessage]:
        def damage(fault: str) -> None:
            if len(faults) < MOST_FAULTS:
                faults[fault] = None

        with _reading(self.path):
            for file in self._files:
                yield from file.messages(topics, damage, lost)

    def _pauses(self) -> Iterator[tuple[int, int]]:
        """The pauses of more than `PAUSE_NS`: time of the message before, and length."""
        with _reading(self.path):
            spans = [span for file in self._files for span in file.spans(PAUSE_NS)]
        before = self.start_ns
        for start, end in sorted(spans):
            if start - before > PAUSE_NS:
                yield before, start - before
            before = max(before, end)

    def _open_file(self, path: Path, faults: list[str]) -> StorageFile:
        head = _head(path)
        if head.startswith(ZSTD) and is_stored(path):
            path, fault = unpack_file(path, self._folder())
            faults += [fault] if fault else []
            head = _head(path)
        if head.startswith(mcap_file.MAGIC):
            return mcap_file.McapFile(path)
        if head.startswith(sqlite_file.MAGIC):
            return sqlite_file.SqliteFile(path)
        what = what_it_is(head) or (
            f'neither an mcap nor an SQLite recording, as it starts with {head[:8].hex(" ")}; '
            'copy it again'
        )
        raise DgssError(f'{path.parent / plain(path.name)} is {what}.')

    def _folder(self) -> Path:
        """A folder for unpacked files that is removed with this object."""
        folder = tempfile.mkdtemp(prefix='dgss-bag-')
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)


def is_bag(path: Path) -> bool:
    """Whether `path` is a rosbag2 folder or one of its storage files, by name or first bytes."""
    with _reading(path):
        if path.is_dir():
            return is_metadata(path / METADATA) or any(map(is_stored, path.iterdir()))
    if is_stored(path):
        return True
    return bool(why_not(path)) and not why_not(path, 'mcap', 'sqlite')


def opened(bag: str | Path | Bag) -> Bag:
    """The bag itself, or the one at a path."""
    return bag if isinstance(bag, Bag) else Bag(bag)


def bag_info(bag: str | Path | Bag) -> BagInfo:
    """Summarise a bag folder or storage file; DgssError if it cannot be read."""
    return opened(bag).info()


def read_messages(
    bag: str | Path | Bag,
    topics: Collection[str] | None = None,
    on_short: Callable[[IncompleteError], object] | None = None,
) -> Iterator[BagMessage]:
    """Iterate the messages of a bag as `Bag.messages` does."""
    yield from opened(bag).messages(topics, on_short)


def span(length_ns: int) -> str:
    """A length of time in words: '54.0 years'."""
    seconds = length_ns / 1e9
    unit, size = next(((u, n) for u, n in UNITS if seconds >= n), UNITS[-1])
    return f'{seconds / size:.1f} {unit}'


def _head(path: Path) -> bytes:
    if not path.is_file():
        raise DgssError(f'{path} is not a file; give a bag folder or an .mcap or .db3 file.')
    return read_head(path)


def _few(faults: list[str]) -> list[str]:
    more = len(faults) - TOLD
    return faults if more <= 0 else [*faults[:TOLD], f'and {more} more']


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DgssError(
            f'{path} cannot be read ({error.strerror or error}); check the disk and the rights.'
        ) from error
