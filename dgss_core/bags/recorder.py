"""Write serialized messages to a bag."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin

from dgss_core.bags.interfaces import typestore
from dgss_core.bags.metadata import METADATA, is_metadata
from dgss_core.bags.storage import Writer
from dgss_core.errors import DgssError, cause, unknown
from dgss_core.files import STAGING, Kind, refuse_replacing, replacing_folder

BEGIN = ('.mcap', '.db3', '.zstd')
"""How suffixes of storage files begin: sqlite3 also leaves .db3-wal and .db3-shm."""
STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}


class _DroppedError(Exception):
    """Ends the staging folder of a bag that is not kept."""


class BagRecorder:
    """Writes serialized messages to a new bag; a context manager for one thread.

    The complete bag appears at `path` when the context ends without an error. With
    `keep_partial`, for live recordings, the messages before an error are kept. `latched` topics
    are offered to late subscribers when the bag is played. `inputs`: what the bag is made from.

    Raises DgssError for an unknown storage, if `path` exists (with `overwrite`: if it is not a
    bag, holds something else, or one of `inputs`), and if it cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        storage: str = 'mcap',
        *,
        latched: Collection[str] = (),
        overwrite: bool = False,
        keep_partial: bool = False,
        inputs: Iterable[Path] = (),
    ) -> None:
        self.path = Path(path)
        self.count = 0
        self._latched = frozenset(latched)
        self._keep_partial = keep_partial
        self._connections: dict[str, Connection] = {}
        if storage not in STORAGES:
            raise unknown('storage', storage, STORAGES)
        self._storage = STORAGES[storage]
        self._overwrite, self._inputs = overwrite, [*inputs]
        refuse_replacing(self.path, BAG, overwrite=overwrite, inputs=self._inputs)
        # An empty folder is no bag either.
        if self.path.exists() and (why := _why_no_bag(self.path)):
            raise DgssError(f'{self.path} is not a bag ({why}); choose another path.')

    def __enter__(self) -> BagRecorder:
        with _writing(self.path), ExitStack() as stack:
            staging = stack.enter_context(
                replacing_folder(self.path, BAG, overwrite=self._overwrite, inputs=self._inputs)
            )
            staging.rmdir()  # The writer makes it.
            self._writer = Writer(staging, version=9, storage_plugin=self._storage)
            self._writer.open()
            self._staging = stack.pop_all()
        return self

    def record(self, topic: str, msgtype: str, stamp_ns: int, data: bytes | memoryview) -> None:
        """Append one message; `msgtype` as in sensor_msgs/msg/Image, `data` its CDR with header.

        Raises DgssError for a type outside the standard ROS 2 interfaces.
        """
        if topic not in self._connections:
            self._connections[topic] = self._connect(topic, msgtype)
        with _writing(self.path):
            self._writer.write(self._connections[topic], stamp_ns, data)
        self.count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _writing(self.path), suppress(_DroppedError), self._staging:
            if kind is not None and not (self._keep_partial and self.count):
                self._writer.abort()
                raise _DroppedError
            self._writer.close()

    def _connect(self, topic: str, msgtype: str) -> Connection:
        if msgtype not in typestore().fielddefs:
            raise DgssError(
                f'{topic} has the type {msgtype}, which is not a standard ROS 2 interface; '
                'record it with ros2 bag record.'
            )
        return self._writer.add_connection(
            topic,
            msgtype,
            typestore=typestore(),
            offered_qos_profiles=[_qos(latched=topic in self._latched)],
        )


def _why_no_bag(folder: Path) -> str:
    metadata = folder / METADATA
    if not is_metadata(metadata):
        return f'it has no {METADATA} of rosbag2'
    for path in folder.iterdir():
        stored = path.name == metadata.name or path.suffix.startswith(BEGIN)
        if not stored and not path.name.startswith(STAGING):
            return f'it holds {path.name}'
    return ''


BAG = Kind('a bag', _why_no_bag)


def _qos(latched: bool) -> Qos:
    unlimited = QosTime(9223372036, 854775807)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 5,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=unlimited,
        lifespan=unlimited,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=unlimited,
        avoid_ros_namespace_conventions=False,
    )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise DgssError(
            f'{path} cannot be written: {cause(error)}; check the disk and its permissions.'
        ) from error
