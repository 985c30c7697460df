"""Read bags: a summary, the raw messages, and the images as frames."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import QosDurability

from dgss_core.bags import interfaces
from dgss_core.bags.interfaces import COMPRESSED, IMAGE, IMAGE_TOPIC, STRING, sibling, typestore
from dgss_core.bags.safety import check_bag
from dgss_core.bags.storage import Reader
from dgss_core.errors import DgssError, shown
from dgss_core.images.compressed import decode_compressed
from dgss_core.images.encodings import decode_image
from dgss_core.images.frames import Frame, OnError

BAG_SUFFIXES = ('.mcap', '.db3')

WAITING = 4
"""At most so many images wait for their labels, in a bag with labels."""


@dataclass(frozen=True)
class BagTopic:
    """`rate`: in Hz over the whole bag; `latched`: late subscribers get the last message."""

    name: str
    msgtype: str
    count: int
    rate: float
    latched: bool


@dataclass(frozen=True)
class BagInfo:
    """Summary of a bag; `size` in bytes, `start_ns` since the epoch."""

    path: Path
    storage: str
    size: int
    start_ns: int
    duration_ns: int
    topics: tuple[BagTopic, ...]


@dataclass(frozen=True)
class BagMessage:
    """A raw message: `data` is its CDR, `stamp_ns` its time of recording."""

    topic: str
    msgtype: str
    stamp_ns: int
    data: bytes


def is_bag(path: Path) -> bool:
    """Whether `path` is a rosbag2 folder or one of its storage files."""
    if not path.is_dir():
        return path.suffix in BAG_SUFFIXES
    return (path / 'metadata.yaml').is_file() or any(
        entry.suffix in BAG_SUFFIXES for entry in path.iterdir()
    )


def bag_info(path: str | Path) -> BagInfo:
    """Summarise a bag folder or storage file; DgssError if it cannot be read."""
    path = Path(path)
    with _opened(path) as reader:
        counts: dict[tuple[str, str], int] = defaultdict(int)
        latched = {c.topic for c in reader.connections if _is_latched(c)}
        # A topic can have several connections, one for each QoS profile of its publishers.
        for connection in reader.connections:
            counts[connection.topic, interfaces.full_name(connection.msgtype)] += (
                connection.msgcount
            )
        # The duration of the reader ends one nanosecond after the last message.
        duration_ns = max(reader.duration - 1, 0)
        topics = tuple(
            BagTopic(
                name=name,
                msgtype=msgtype,
                count=count,
                rate=(count - 1) * 1e9 / duration_ns if duration_ns else 0.0,
                latched=name in latched,
            )
            for (name, msgtype), count in sorted(counts.items())
        )
        files = [path] if path.is_file() else sorted(f for f in path.iterdir() if f.is_file())
        return BagInfo(
            path=path,
            storage='mcap' if any('.mcap' in file.name for file in files) else 'sqlite3',
            size=sum(file.stat().st_size for file in files),
            start_ns=reader.start_time if reader.message_count else 0,
            duration_ns=duration_ns,
            topics=topics,
        )


def read_messages(path: str | Path, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
    """Iterate the messages of `topics` (None: all) in the order of recording."""
    with _opened(Path(path)) as reader:
        wanted = [c for c in reader.connections if topics is None or c.topic in topics]
        # The reader takes an empty list for all connections.
        for connection, stamp_ns, data in reader.messages(wanted) if wanted else ():
            kind = interfaces.full_name(connection.msgtype)
            yield BagMessage(connection.topic, kind, stamp_ns, bytes(data))


def image_topic(path: str | Path, topic: str | None = None) -> BagTopic:
    """The image topic to read from a bag: `topic`, or else the only or the default one.

    Raises DgssError, with a list of the image topics, if `topic` is not one of them, or if it is
    None and there are several.
    """
    images = [t for t in bag_info(path).topics if t.msgtype in (IMAGE, COMPRESSED)]
    cameras = [t for t in images if not t.name.endswith('/labels')]
    known = ', '.join(t.name for t in images)
    if not images:
        raise DgssError(f'{path} holds no images; give a bag that was recorded from a camera.')
    if topic is not None:
        found = next((t for t in images if t.name == topic), None)
        if found is None:
            raise DgssError(f'{path} has no image topic {topic}; it has {known}.')
        return found
    for default in (IMAGE_TOPIC, f'{IMAGE_TOPIC}/compressed'):
        cameras = [t for t in cameras if t.name == default] or cameras
    if len(cameras) != 1:
        raise DgssError(f'{path} has several image topics; name one of {known}.')
    return cameras[0]


def read_bag(
    path: str | Path, topic: str | None = None, *, on_error: OnError | None = None
) -> Iterator[Frame]:
    """Iterate the images of a bag, with their condition and the labels of the same stamp, if any.

    Frames are named by their number, from 000000. `on_error` as in `read_frames`. Raises
    DgssError as `image_topic` does, and for a damaged bag.
    """
    chosen = image_topic(path, topic)
    labels_topic = sibling(chosen.name, 'labels')
    has_labels = any(
        t.name == labels_topic != chosen.name and t.msgtype == IMAGE for t in bag_info(path).topics
    )
    topics = {chosen.name, labels_topic} if has_labels else {chosen.name}
    conditions = _Conditions(path, sibling(chosen.name, 'condition'))
    pairs = _Pairs(WAITING if has_labels else 0)
    images = 0
    for message in read_messages(path, topics):
        is_image = message.topic == chosen.name
        name = f'{images:06d}' if is_image else f'{message.topic} at {message.stamp_ns} ns'
        images += is_image
        try:
            stamp_ns, image = decode_message(message)
            if is_image:
                condition = conditions.at(message.stamp_ns)
                pairs.images.append(Frame(name, image, stamp_ns, condition=condition))
            else:
                pairs.add_labels(stamp_ns, label_ids(image, message))
        except DgssError as error:
            _report(on_error, name, error)
        yield from pairs.complete(on_error)
    yield from pairs.complete(on_error, last=True)


class _Pairs:
    """Matches images and labels by stamp, in any order of arrival."""

    def __init__(self, waiting: int) -> None:
        self.images: deque[Frame] = deque()
        self._labels: dict[int, np.ndarray] = {}
        self._waiting = waiting

    def add_labels(self, stamp_ns: int, labels: np.ndarray) -> None:
        self._labels[stamp_ns] = labels
        if len(self._labels) > WAITING:
            del self._labels[next(iter(self._labels))]

    def complete(self, on_error: OnError | None, last: bool = False) -> Iterator[Frame]:
        """Take the images that have their labels or waited long enough; all of them if `last`."""
        images, waiting = self.images, 0 if last else self._waiting
        while images and (images[0].stamp_ns in self._labels or len(images) > waiting):
            frame = images.popleft()
            labels = self._labels.pop(frame.stamp_ns, None)
            if labels is None or labels.shape == frame.image.shape[:2]:
                yield replace(frame, labels=labels)
                continue
            _report(
                on_error,
                frame.name,
                DgssError(
                    f'The labels of frame {frame.name} are {labels.shape[1]}x{labels.shape[0]} '
                    f'and its image {frame.image.shape[1]}x{frame.image.shape[0]}; '
                    'record labels at the size of the image.'
                ),
            )


class _Conditions:
    """The condition at a time, from the messages of the condition topic."""

    def __init__(self, path: str | Path, topic: str) -> None:
        self._starts, self._names = condition_changes(path, topic)

    def at(self, stamp_ns: int) -> str | None:
        index = bisect_right(self._starts, stamp_ns) - 1
        return self._names[index] if index >= 0 else None


def condition_changes(path: str | Path, topic: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The times of recording of the messages of a condition topic, and the conditions."""
    messages = [m for m in read_messages(path, {topic}) if m.msgtype == STRING]
    times = tuple(message.stamp_ns for message in messages)
    return times, tuple(_deserialized(message).data for message in messages)


def decode_message(message: BagMessage) -> tuple[int, np.ndarray]:
    """Stamp in nanoseconds and RGB image of an Image or CompressedImage.

    Raises DgssError for a message that is damaged.
    """
    content = _deserialized(message)
    stamp = content.header.stamp
    # Some drivers leave the stamp at zero; use the time of recording then.
    stamp_ns = stamp.sec * 10**9 + stamp.nanosec or message.stamp_ns
    if message.msgtype == COMPRESSED:
        return stamp_ns, decode_compressed(content.data)
    image = decode_image(
        content.data,
        width=content.width,
        height=content.height,
        step=content.step,
        encoding=content.encoding,
        is_bigendian=bool(content.is_bigendian),
    )
    return stamp_ns, image


def label_ids(image: np.ndarray, message: BagMessage) -> np.ndarray:
    """The ids of a decoded label message, uint8 (H, W); DgssError for another encoding."""
    encoding = _deserialized(message).encoding
    if encoding not in ('mono8', '8UC1'):
        raise DgssError(f'{message.topic} is {shown(encoding)}; labels are mono8 images of ids.')
    return np.ascontiguousarray(image[..., 0])


def _deserialized(message: BagMessage) -> Any:
    try:
        return typestore().deserialize_cdr(message.data, message.msgtype)
    # Damaged bytes can raise any exception in the decoder.
    except Exception as error:
        raise DgssError(
            f'A message of {message.topic} at {message.stamp_ns} ns is damaged ({error}); '
            'record the bag again.'
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[Reader]:
    try:
        storage = _storage_of(path)
        check_bag(storage)
        with Reader(storage) as reader:
            yield reader
    except DgssError:
        raise
    # Reader, storage, compression and YAML errors have only Exception in common.
    except Exception as error:
        raise DgssError(
            f'{path} cannot be read as a bag: {error or type(error).__name__}; '
            'repair it with ros2 bag reindex, or record it again.'
        ) from error


def _storage_of(path: Path) -> Path:
    """The path to open: the one storage file of a folder without metadata, else `path`."""
    if not path.exists():
        raise DgssError(f'There is no bag {path}; give a bag folder or an .mcap or .db3 file.')
    if path.is_dir() and not (path / 'metadata.yaml').is_file():
        files = [file for file in path.iterdir() if file.suffix in BAG_SUFFIXES]
        if len(files) != 1:
            raise DgssError(
                f'{path} has no metadata.yaml and is not a bag, or its recording was cut off; '
                'repair it with ros2 bag reindex.'
            )
        return files[0]
    return path


def _is_latched(connection: Any) -> bool:
    profiles = connection.ext.offered_qos_profiles
    return any(qos.durability == QosDurability.TRANSIENT_LOCAL for qos in profiles)


def _report(on_error: OnError | None, name: str, error: DgssError) -> None:
    if on_error is None:
        raise error
    on_error(name, error)
