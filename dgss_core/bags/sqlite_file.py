"""Reads the SQLite files of rosbag2, also those with a write-ahead log that was not merged."""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core.bags.compression import LARGEST, UnpackError, unpack_message
from dgss_core.bags.stored import CDR, BagMessage, Damage, Lost, StoredTopic, full_name, is_latched
from dgss_core.errors import DgssError, plain, plural, read_head, shown

MAGIC = b'SQLite format 3\0'
HOT = bytes.fromhex('d9d505f920a163d7')
"""How a rollback journal begins that was not played back."""
BROKEN = (sqlite3.Error, ValueError, OverflowError)
"""What a damaged file can raise: names in it need not be text."""
STEPS = 100_000
"""Steps of SQLite between two looks for Ctrl-C, well below a second."""


class SqliteFile:
    """An SQLite file of rosbag2, opened so that its folder stays as it is.

    A file without a log is opened as immutable. The log of one that was killed is read with it,
    and its index kept in memory, since a reader may not write beside the file.

    Raises DgssError for a file without the tables of rosbag2, and for tables that compute what
    they hold: a view, a virtual table or a generated column can take any time and any memory.
    """

    storage = 'sqlite3'

    def __init__(self, path: Path) -> None:
        self._path, self._name = path, plain(path.name)
        self._title = path.parent / self._name
        self.faults: list[str] = []
        if _begins(_beside(path, '-journal'), HOT):
            raise DgssError(
                f'{self._title} was cut off amid a transaction, and its -journal holds what it '
                'replaced; open a copy of both once with sqlite3, which puts it back.'
            )
        with self._opened() as file:
            self._check_tables(file)
            self._rows, self._topic_ids, self._times = self._read_rows(file)
            counts = Counter(self._topic_ids.tolist())
            self._topics = self._read_topics(file, counts)
        if lost := sum(count for id_, count in counts.items() if id_ not in self._topics):
            self.faults.append(
                f'{self._name} holds {plural(lost, "message")} without a topic; copy it again'
            )
        self.topics = [*self._topics.values()]
        self.start_ns = int(self._times[0]) if len(self._times) else 0
        self.end_ns = int(self._times[-1]) if len(self._times) else 0

    def messages(
        self, topics: Collection[str], damage: Damage, lost: Lost
    ) -> Iterator[BagMessage]:
        wanted = {id_: topic for id_, topic in self._topics.items() if topic.name in topics}
        chosen = np.isin(self._topic_ids, [*wanted])
        rows, ids, times = (part[chosen] for part in (self._rows, self._topic_ids, self._times))
        if not len(rows):
            return
        # One query reads what is in the order of rows and of times alike, nearly always all.
        places = np.argsort(np.argsort(rows))
        runs = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(places) != 1) + 1)
        with self._opened() as file:
            for run in runs:
                for row, data in self._read_run(file, rows[run], [*wanted]):
                    at = run[0] + np.searchsorted(rows[run], row)
                    if at > run[-1] or rows[at] != row:
                        continue
                    topic = wanted[ids[at]]
                    try:
                        data = unpack_message(data)
                    except UnpackError as error:
                        damage(f'message {row} of {self._name} {error}; copy it again')
                        lost(topic.name, 1)
                    else:
                        yield BagMessage(topic.name, topic.msgtype, int(times[at]), data)

    def spans(self, longest_ns: int) -> Iterator[tuple[int, int]]:
        for run in np.split(self._times, np.flatnonzero(np.diff(self._times) > longest_ns) + 1):
            if len(run):
                yield int(run[0]), int(run[-1])

    def _read_run(
        self, file: sqlite3.Connection, rows: np.ndarray, topic_ids: list[int]
    ) -> Iterator[tuple[int, Any]]:
        """Rows and data, by one query, since one for each row takes twice the time.

        Behind a damaged row each is read on its own; one that cannot be read has None.
        """
        last = int(rows[0]) - 1
        try:
            for last, data in file.execute(
                'SELECT rowid, data FROM messages NOT INDEXED WHERE rowid BETWEEN ? AND ? '
                f'AND length(data) <= ? AND topic_id IN ({", ".join(map(str, topic_ids))})',
                (int(rows[0]), int(rows[-1]), LARGEST),
            ):
                yield last, data
            return
        except BROKEN as error:
            _raise_interrupt(error)
        for row in rows[rows > last].tolist():
            data = None
            try:
                data = file.execute('SELECT data FROM messages WHERE rowid = ?', (row,)).fetchone()
            except BROKEN as error:
                _raise_interrupt(error)
            yield row, data and data[0]

    def _read_rows(self, file: sqlite3.Connection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, topics and times of the messages that are whole, in the order of their times."""
        rows, bare, refused, large = array('q'), array('q'), 0, 0
        try:
            # By the table itself: its index may be damaged or missing. Lengths stand in its rows.
            for *row, length in file.execute(
                'SELECT rowid, topic_id, timestamp, length(data) FROM messages NOT INDEXED'
            ):
                if (length or 0) > LARGEST:
                    large += 1
                elif all(type(value) is int for value in row) and row[2] >= 0:
                    rows.extend(row)
                    if length is None:
                        bare.append(row[2])
                else:
                    refused += 1
        except BROKEN as error:
            _raise_interrupt(error)
            self.faults.append(
                f'{self._name} is damaged or cut off behind {plural(len(rows) // 3, "message")} '
                f'({error}); copy it again, or take what is there with sqlite3 .recover'
            )
        if bare:
            at = f'at {min(bare)} ns' if len(bare) == 1 else f'the first at {min(bare)} ns'
            self.faults.append(
                f'{self._name} holds {plural(len(bare), "message")} without data, {at}; find '
                'out why its recorder wrote nothing there, or use another copy'
            )
        if large:
            self.faults.append(
                f'{self._name} holds {plural(large, "message")} larger than any image'
            )
        if refused:
            self.faults.append(f'{self._name} holds {plural(refused, "message")} without a time')
        table = np.array(rows, np.int64).reshape(-1, 3)
        table = table[np.argsort(table[:, 2], kind='stable')]
        return table[:, 0], table[:, 1], table[:, 2]

    def _read_topics(
        self, file: sqlite3.Connection, counts: Counter[int]
    ) -> dict[int, StoredTopic]:
        columns = [row[1] for row in file.execute('PRAGMA table_info(topics)')]
        qos = 'offered_qos_profiles' if 'offered_qos_profiles' in columns else "''"
        rows = file.execute(f'SELECT id, name, type, serialization_format, {qos} FROM topics')
        return {
            id_: StoredTopic(
                str(name),
                full_name(str(kind)),
                str(form or CDR),
                is_latched(profiles),
                counts[id_],
            )
            for id_, name, kind, form, profiles in rows
            if type(id_) is int
        }

    def _check_tables(self, file: sqlite3.Connection) -> None:
        tables = set()
        # The definitions are text; to list them computes nothing.
        for kind, table, sql in file.execute('SELECT type, name, sql FROM sqlite_master'):
            plain = kind in ('table', 'index') and 'VIRTUAL' not in str(sql).upper().split()[:2]
            if plain and kind == 'table':
                tables.add(table)
                columns = file.execute('SELECT hidden FROM pragma_table_xinfo(?)', (table,))
                plain = not any(hidden for (hidden,) in columns)
            if not plain:
                raise DgssError(
                    f'{self._title} holds {shown(str(table))}, which is not a plain table, and no '
                    'recorder writes that; use another copy of the bag.'
                )
        if not tables >= {'topics', 'messages'}:
            raise DgssError(
                f'{self._title} holds no tables of rosbag2; if it was being recorded, copy '
                f'{self._name}-wal, which lay beside it, as well.'
            )

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        log = _beside(self._path, '-wal')
        logged = log.is_file() and log.stat().st_size > 0
        name = self._path.absolute().as_uri()
        name += '?mode=ro&vfs=unix-none' if logged else '?immutable=1'
        try:
            with closing(sqlite3.connect(name, uri=True, check_same_thread=False)) as file:
                # Keeps the index of the log in memory; no other process may write meanwhile.
                file.execute('PRAGMA locking_mode = EXCLUSIVE')
                file.execute('PRAGMA trusted_schema = OFF')
                # Only so is a file read that is shorter than its header says.
                file.execute('PRAGMA writable_schema = ON')
                # During a query, which is one call, Python handles signals in this function.
                file.set_progress_handler(lambda: 0, STEPS)
                file.text_factory = lambda text: text.decode(errors='replace')
                yield file
        except BROKEN as error:
            _raise_interrupt(error)
            raise DgssError(
                f'{self._title} cannot be read ({error}); copy it again, or take what is there '
                'with sqlite3 .recover.'
            ) from error


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _begins(path: Path, magic: bytes) -> bool:
    with suppress(OSError):
        return read_head(path).startswith(magic)
    return False


def _raise_interrupt(error: Exception) -> None:
    """Raise KeyboardInterrupt for a query that one ended: SQLite only tells that it was."""
    if str(error) == 'interrupted':
        raise KeyboardInterrupt from error
