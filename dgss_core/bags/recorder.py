"""Write serialized messages to a bag."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
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
from rosbags.rosbag2 import StoragePlugin, Writer

from dgss_core.bags.interfaces import typestore
from dgss_core.errors import DgssError, unknown

STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}


class BagRecorder:
    """Writes serialized messages to a new bag; a context manager for one thread.

    The complete bag appears at `path` when the context ends without an error. With
    `keep_partial`, for live recordings, the messages before an error are kept. `latched` topics
    are offered to late subscribers when the bag is played.

    Raises DgssError for an unknown storage, if `path` exists (with `overwrite`: if it is not a
    bag), and if it cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        storage: str = 'mcap',
        *,
        latched: Collection[str] = (),
        overwrite: bool = False,
        keep_partial: bool = False,
    ) -> None:
        self.path = Path(path)
        self.count = 0
        self._latched = frozenset(latched)
        self._keep_partial = keep_partial
        self._connections: dict[str, Connection] = {}
        if storage not in STORAGES:
            raise unknown('storage', storage, STORAGES)
        self._storage = STORAGES[storage]
        if self.path.exists() and not overwrite:
            raise DgssError(
                f'{self.path} already exists; choose another path or pass --overwrite.'
            )
        if self.path.exists() and not (self.path / 'metadata.yaml').is_file():
            raise DgssError(
                f'{self.path} is not a bag and is not overwritten; choose another path.'
            )

    def __enter__(self) -> BagRecorder:
        with _writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._staging = Path(
                tempfile.mkdtemp(prefix=f'.{self.path.name}.', dir=self.path.parent)
            )
            # Storage files are named after their folder, so it needs its final name here.
            self._writer = Writer(
                self._staging / self.path.name, version=9, storage_plugin=self._storage
            )
            self._writer.open()
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
        try:
            if kind is None or (self._keep_partial and self.count):
                with _writing(self.path):
                    self._writer.close()
                    self._publish()
            else:
                self._writer.abort()
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)

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

    def _publish(self) -> None:
        if self.path.exists():
            os.replace(self.path, self._staging / 'replaced')
        os.replace(self._staging / self.path.name, self.path)


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
            f'{path} cannot be written: {error}; check the disk and its permissions.'
        ) from error
