"""Reads mcap files (https://mcap.dev/spec), also those that are cut off or have no index."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import IO
from zlib import crc32

from mcap.opcode import Opcode
from mcap.records import ChunkIndex, Footer, Header, Statistics

from dgss_core.bags.compression import UnpackError, unpack_message
from dgss_core.bags.mcap_contents import Contents
from dgss_core.bags.mcap_records import (
    BROKEN,
    CHUNK,
    MAGIC,
    MESSAGE,
    RECORD,
    bounded,
    indexed_messages,
    records_in,
    records_of,
    stream,
)
from dgss_core.bags.stored import MOST_FAULTS, BagMessage, Damage, Lost, StoredTopic
from dgss_core.errors import DgssError, plain, plural

TAIL = RECORD.size + 20 + len(MAGIC)
"""Bytes of the footer and what follows."""
GONE = 0
"""In place of the opcode of a record that cannot be read."""
Found = list[tuple[int, int, memoryview | bytes]]
"""Times, channels and data of messages."""


class McapFile:
    """An mcap file, read from its start to its end; its index only tells what can be passed over.

    Raises DgssError if it does not begin as an mcap file.
    """

    storage = 'mcap'

    def __init__(self, path: Path) -> None:
        self._path, self._name = path, plain(path.name)
        self._size = path.stat().st_size
        self.faults: list[str] = []
        self._chunks: dict[int, frozenset[int]] = {}
        self._indexes: dict[int, dict[int, int]] = {}
        with path.open('rb') as file:
            self._profile = self._read_header(file)
            found = self._read_summary(file)
            if found is None:
                found = self._scan(file)
        self._channels, self._chunks = found.channels, found.chunks
        self._counts = counted = found.counts
        self.topics = [replace(c, count=counted.get(i, 0)) for i, c in found.channels.items()]
        self.start_ns, self.end_ns = found.start_ns, found.end_ns

    def messages(
        self, topics: Collection[str], damage: Damage, lost: Lost
    ) -> Iterator[BagMessage]:
        wanted = {id_: c for id_, c in self._channels.items() if c.name in topics}
        if not wanted:
            return
        with self._path.open('rb') as file:
            for offset, opcode, length in self._records(file, damage):
                held = self._chunks.get(offset)
                if held is not None and held.isdisjoint(wanted):
                    continue
                found: Found = []
                is_broken = False
                try:
                    for message in self._messages_in(file, opcode, length, wanted):
                        found.append(message)
                except BROKEN as error:
                    damage(self._damaged(offset, error))
                    is_broken = True
                for stamp_ns, channel, data in sorted(found, key=itemgetter(0)):
                    name, msgtype = wanted[channel].name, wanted[channel].msgtype
                    try:
                        yield BagMessage(name, msgtype, stamp_ns, unpack_message(bytes(data)))
                    except UnpackError as error:
                        damage(self._damaged(offset, error))
                        lost(name, 1)
                if is_broken or opcode == GONE:
                    came = Counter(channel for _, channel, _ in found)
                    self._tell_lost(file, offset, came, wanted, lost)

    def _tell_lost(
        self,
        file: IO[bytes],
        offset: int,
        came: Counter[int],
        wanted: Mapping[int, StoredTopic],
        lost: Lost,
    ) -> None:
        """Count by the index of a chunk what did not come of it."""
        places = self._indexes.get(offset)
        for channel, topic in wanted.items():
            if places is not None and channel not in places:
                continue
            count = 0
            with suppress(*BROKEN):
                indexed = indexed_messages(file, places[channel]) if places else 0
                count = max(min(indexed, self._counts.get(channel, 0)) - came[channel], 0)
            lost(topic.name, count)

    def spans(self, longest_ns: int) -> Iterator[tuple[int, int]]:
        with self._path.open('rb') as file:
            for _, opcode, length in self._records(file, lambda _: None):
                with suppress(*BROKEN):
                    if opcode == Opcode.MESSAGE:
                        _, _, stamp_ns, _ = MESSAGE.unpack(file.read(MESSAGE.size))
                        yield stamp_ns, stamp_ns
                    elif opcode == Opcode.CHUNK:
                        yield from self._spans_of_chunk(file, length, longest_ns)

    def _spans_of_chunk(
        self, file: IO[bytes], length: int, longest_ns: int
    ) -> Iterator[tuple[int, int]]:
        at = file.tell()
        start, end, *_ = CHUNK.unpack(file.read(CHUNK.size))
        # The times of a chunk without messages are zero.
        if 0 < start <= end <= start + longest_ns:
            yield start, end
            return
        file.seek(at)
        for opcode, content in records_in(file, length):
            if opcode == Opcode.MESSAGE:
                _, _, stamp_ns, _ = MESSAGE.unpack_from(content)
                yield stamp_ns, stamp_ns

    def _messages_in(
        self, file: IO[bytes], opcode: int, length: int, wanted: Collection[int]
    ) -> Iterator[tuple[int, int, memoryview | bytes]]:
        """The messages of the record at the position of `file`."""
        if opcode == Opcode.MESSAGE:
            channel, _, stamp_ns, _ = MESSAGE.unpack(file.read(MESSAGE.size))
            if channel in wanted:
                yield stamp_ns, channel, bounded(file, length - MESSAGE.size)
        elif opcode == Opcode.CHUNK:
            for inner, content in records_in(file, length):
                if inner == Opcode.MESSAGE:
                    channel, _, stamp_ns, _ = MESSAGE.unpack_from(content)
                    if channel in wanted:
                        yield stamp_ns, channel, content[MESSAGE.size :]

    def _records(self, file: IO[bytes], damage: Damage) -> Iterator[tuple[int, int, int]]:
        """Offset, opcode and length of the records until the end of the data.

        The file stands at their content. Behind a damaged one, which is `GONE`, the index
        leads on. A chunk that is cut off is the last, with the length that is there.
        """
        offset, indexed = len(MAGIC), sorted(self._chunks)
        while True:
            file.seek(offset)
            head = file.read(RECORD.size)
            if len(head) < RECORD.size:
                return damage(self._cut(offset))
            opcode, length = RECORD.unpack(head)
            if opcode in (Opcode.DATA_END, Opcode.FOOTER):
                return None
            if opcode and offset + RECORD.size + length <= self._size:
                yield offset, opcode, length
                offset += RECORD.size + length
                continue
            after = bisect_right(indexed, offset)
            if after == len(indexed):
                damage(self._cut(offset) if opcode else self._damaged(offset))
                if opcode == Opcode.CHUNK:
                    yield offset, opcode, self._size - offset - RECORD.size
                return None
            damage(self._damaged(offset))
            yield offset, GONE, 0
            offset = indexed[after]

    def _read_header(self, file: IO[bytes]) -> str:
        if file.read(len(MAGIC)) != MAGIC:
            raise DgssError(
                f'{self._path.parent / self._name} does not begin as an mcap file; copy it again.'
            )
        head = file.read(RECORD.size)
        with suppress(*BROKEN):
            opcode, length = RECORD.unpack(head)
            if opcode == Opcode.HEADER:
                return Header.read(stream(bounded(file, length))).profile
        is_cut = len(head) < RECORD.size
        self._note(self._cut(len(MAGIC)) if is_cut else self._damaged(len(MAGIC)))
        return ''

    def _read_summary(self, file: IO[bytes]) -> Contents | None:
        """What the summary tells; None without one that is whole and counts the messages."""
        try:
            file.seek(max(self._size - TAIL, 0))
            tail = file.read()
            footer = Footer.read(stream(tail[RECORD.size :]))
            if not tail.endswith(MAGIC) or not footer.summary_start:
                return None
            file.seek(footer.summary_start)
            summary = bounded(file, self._size - TAIL - footer.summary_start)
            if footer.summary_crc and footer.summary_crc != crc32(tail[:25], crc32(summary)):
                return None
            found = Contents(self._profile)
            total = None
            for opcode, content in records_of(summary):
                found.take(opcode, content)
                if opcode == Opcode.CHUNK_INDEX:
                    index = ChunkIndex.read(stream(content))
                    if index.message_index_offsets:
                        held = frozenset(index.message_index_offsets)
                        self._indexes[index.chunk_start_offset] = index.message_index_offsets
                        found.chunks[index.chunk_start_offset] = held
                elif opcode == Opcode.STATISTICS:
                    statistics = Statistics.read(stream(content))
                    total = statistics.message_count
                    found.counts = statistics.channel_message_counts
                    found.start_ns = statistics.message_start_time
                    found.end_ns = statistics.message_end_time
        except BROKEN:
            return None
        is_whole = total == sum(found.counts.values()) and not found.nameless
        return found if is_whole and found.counts.keys() <= found.channels.keys() else None

    def _scan(self, file: IO[bytes]) -> Contents:
        """What the data itself tells."""
        counts: Counter[int] = Counter()
        found = Contents(self._profile, counts=counts)
        first: int | None = None
        for offset, opcode, length in self._records(file, self._note):
            held: Counter[int] = Counter()
            try:
                if opcode == Opcode.CHUNK:
                    inner: Iterator[tuple[int, memoryview]] = records_in(file, length)
                elif opcode == Opcode.MESSAGE:
                    inner = iter([(opcode, memoryview(file.read(MESSAGE.size)))])
                elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                    inner = iter([(opcode, memoryview(bounded(file, length)))])
                else:
                    continue
                for kind, content in inner:
                    found.take(kind, content)
                    if kind == Opcode.MESSAGE:
                        channel, _, stamp_ns, _ = MESSAGE.unpack_from(content)
                        held[channel] += 1
                        first = stamp_ns if first is None else min(stamp_ns, first)
                        found.end_ns = max(stamp_ns, found.end_ns)
            except BROKEN as error:
                self._note(self._damaged(offset, error))
            counts.update(held)
            if opcode == Opcode.CHUNK:
                found.chunks[offset] = frozenset(held)
        found.start_ns = first or 0
        if lost := sum(count for id_, count in counts.items() if id_ not in found.channels):
            self._note(
                f'{self._name} holds {plural(lost, "message")} without a topic; copy it again'
            )
        return found

    def _note(self, fault: str) -> None:
        if len(self.faults) < MOST_FAULTS and fault not in self.faults:
            self.faults.append(fault)

    def _cut(self, offset: int) -> str:
        part = f', within what begins at byte {offset}' if offset < self._size else ''
        # Without a whole record there is nothing to index.
        index = ', or index what is there with mcap recover' if offset > len(MAGIC) else ''
        return (
            f'{self._name} was cut off while it was recorded or copied (it ends at byte '
            f'{self._size}{part}); copy it again{index}'
        )

    def _damaged(self, offset: int, error: Exception | None = None) -> str:
        reason = f' ({error})' if error else ''
        return f'{self._name} is damaged at byte {offset}{reason}; copy it again'
