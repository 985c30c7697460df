"""The one interface to a storage file of a bag, whatever its format.

mcap files are read with the records of the `mcap` package, SQLite files with the standard library,
and only the messages themselves with `rosbags`. The readers of rosbags match the topics of a bag
by their offered QoS, trust an index that may be missing, hide what a write-ahead log holds, and
unpack without a bound; those of the mcap package stop at the first damage and keep messages
outside chunks in memory. A reader here walks through the file once, in the order of recording,
with flat memory. It reads what is whole, and says what is not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from dgss_core.documents import load_yaml
from dgss_core.errors import DgssError

CDR = 'cdr'
"""The encoding of ROS 2 messages."""

MOST_FAULTS = 50
"""Of one file, and of one reading; a file can be damaged in many places."""

Damage = Callable[[str], None]
"""Called with what is wrong with a file, and what to do."""

Lost = Callable[[str, int], None]
"""Called with a topic and how many of its messages are lost here; 0 if that is not known."""


HEADED = 12
"""Bytes of a serialized message up to the end of its stamp."""


@dataclass(frozen=True)
class BagMessage:
    """A raw message: `data` is its CDR, `stamp_ns` its time of recording."""

    topic: str
    msgtype: str
    stamp_ns: int
    data: bytes


@dataclass(frozen=True)
class StoredTopic:
    """A topic of one file. `count`: the messages that the file counts, or else those found."""

    name: str
    msgtype: str
    encoding: str
    latched: bool
    count: int


class StorageFile(Protocol):
    """One file of a bag.

    `topics` can hold a topic several times, once for each QoS. `start_ns` and `end_ns` are the
    times of the first and last message, zero without messages. `faults`: what is known to be wrong
    with the file since it was opened.
    """

    storage: str
    topics: list[StoredTopic]
    start_ns: int
    end_ns: int
    faults: list[str]

    def messages(
        self, topics: Collection[str], damage: Damage, lost: Lost
    ) -> Iterator[BagMessage]:
        """The messages of `topics`; `damage` is told of what cannot be read and is passed over.

        `lost` is called before the next message, where some may be lost.
        """

    def spans(self, longest_ns: int) -> Iterator[tuple[int, int]]:
        """First and last times of runs of messages without a pause of more than `longest_ns`.

        Runs may overlap, follow each other at once, and come in any order.
        """


def full_name(msgtype: str) -> str:
    """sensor_msgs/Image, as older recorders write it, as sensor_msgs/msg/Image."""
    return msgtype.replace('/', '/msg/') if msgtype.count('/') == 1 else msgtype


def is_latched(profiles: Any) -> bool:
    """Whether one of the offered QoS profiles, which may be the text of a list, is latched."""
    try:
        profiles = load_yaml(profiles, 'QoS') if isinstance(profiles, str) else profiles
    except DgssError:
        return False
    entries = profiles if isinstance(profiles, list) else []
    durabilities = [entry.get('durability') for entry in entries if isinstance(entry, dict)]
    return any(value in (1, 'transient_local') for value in durabilities)


def raw_stamp_ns(data: bytes) -> int:
    """The stamp, in nanoseconds, of a serialized message of `HEADED` bytes or more.

    Its type begins with a std_msgs/Header. CDR: four bytes of encapsulation, the second of which
    gives the byte order, then `int32 sec` and `uint32 nanosec`.
    """
    seconds, rest = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return int(seconds) * 10**9 + int(rest)
