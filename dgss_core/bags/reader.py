"""Read the images of a bag as frames."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core.bags.bag import Bag, BagTopic, opened
from dgss_core.bags.interfaces import (
    COMPRESSED,
    FFMPEG_PACKET,
    FOXGLOVE_VIDEO,
    IMAGE,
    IMAGE_TOPIC,
    IMAGES,
    STRING,
    VIDEOS,
    sibling,
    typestore,
)
from dgss_core.bags.stored import CDR, BagMessage
from dgss_core.bags.topics import VIDEO, why_no_images
from dgss_core.bags.video_messages import Decoded, Place, VideoMessages, codec_of
from dgss_core.errors import HEAD, DgssError, IncompleteError, plain, plural, shown, what_it_is
from dgss_core.images.compressed import decode_compressed, shareable_jpeg
from dgss_core.images.encodings import decode_image, open_image
from dgss_core.images.frames import Frame, OnError

WAITING = 4
"""At most so many images wait for their labels, in a bag with labels."""
LAST_STAMP_NS = 10**9 << 31
"""The seconds of a stamp are an int32."""


def image_topic(
    bag: str | Path | Bag, topic: str | None = None, kinds: tuple[str, ...] = IMAGES
) -> BagTopic:
    """The image topic to read from a bag: `topic`, or else the only or the default one.

    `kinds`: the types of message that the caller can read; `read_bag` also reads `VIDEOS`.

    Raises DgssError, with a list of the image topics, if `topic` is not one of them, or if it is
    None and there are several.
    """
    bag = opened(bag)
    path = bag.path
    found_images = (t for t in bag.topics if t.msgtype in kinds and t.encoding == CDR)
    images = sorted(found_images, key=lambda topic: kinds.index(topic.msgtype))
    cameras = [t for t in images if not t.name.endswith('/labels')]
    known = ', '.join(plain(t.name) for t in images)
    if not images:
        raise DgssError(f'{path} {why_no_images(bag.topics, bag.faults)}.')
    if topic is not None:
        found = next((t for t in images if t.name == topic), None)
        if found is None:
            raise DgssError(f'{path} has no image topic {topic}; it has {known}.')
        return found
    for default in (IMAGE_TOPIC, f'{IMAGE_TOPIC}/compressed'):
        cameras = [t for t in cameras if t.name == default] or cameras
    if len({t.name for t in cameras}) != 1:
        raise DgssError(f'{path} has several image topics; name one of {known}.')
    return cameras[0]


def read_bag(
    bag: str | Path | Bag,
    topic: str | None = None,
    *,
    labelled: bool = True,
    on_error: OnError | None = None,
) -> Iterator[Frame]:
    """Iterate the images of a bag, with their condition and the labels of the same stamp, if any.

    Frames are named by their number, from 000000, also behind a place where the bag tells how many
    messages it has lost. `labelled` and `on_error` as in `read_frames`.
    Raises DgssError as `image_topic` does, and for a damaged message; IncompleteError at the end
    for a bag that is cut off, damaged, or holds fewer images than it promises.
    """
    bag = opened(bag)
    chosen = image_topic(bag, topic, (*IMAGES, *VIDEOS))
    labels_topic = sibling(chosen.name, 'labels')
    has_labels = labelled and any(
        t.name == labels_topic != chosen.name and t.msgtype == IMAGE for t in bag.topics
    )
    topics = {chosen.name, labels_topic} if has_labels else {chosen.name}
    conditions = _Conditions(bag, sibling(chosen.name, 'condition'))
    pairs = _Pairs(WAITING if has_labels else 0)
    decoder = _Images()
    images = came = 0

    def lose(topic: str, count: int) -> None:
        nonlocal images
        if topic == chosen.name:
            images += count
            decoder.video.lose()

    short: list[IncompleteError] = []
    others: Counter[str] = Counter()
    for message in bag.messages(topics, short.append, lose):
        is_image = message.topic == chosen.name
        if message.msgtype != (chosen.msgtype if is_image else IMAGE):
            # Messages of another kind may share the topic of the images.
            if message.msgtype in (*IMAGES, *VIDEOS):
                others[f'{plain(message.topic)} of type {message.msgtype}'] += 1
            continue
        name = f'{images:06d}' if is_image else f'{message.topic} at {message.stamp_ns} ns'
        images += is_image
        came += is_image
        try:
            if is_image:
                pairs.add(decoder.take(message, name), conditions, on_error)
            else:
                pairs.add_labels(*decode_labels(message))
        except DgssError as error:
            _report(on_error, name, error)
        yield from pairs.complete(on_error)
    pairs.add(decoder.video.rest(), conditions, on_error)
    yield from pairs.complete(on_error, last=True)
    for what, count in others.items():
        left_out = IncompleteError(
            f'{plural(count, "message")} on {what} of {bag.path} were left out, because the topic '
            f'has {chosen.msgtype} too; record the two on topics of their own.',
            count,
        )
        _report(on_error, chosen.name, left_out)
    for shortfall in short:
        missing = max(chosen.count - came, 0)
        _report(on_error, chosen.name, IncompleteError(str(shortfall), missing))


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

    def add(
        self, decoded: Iterable[Decoded], conditions: _Conditions, on_error: OnError | None
    ) -> None:
        for place, image in decoded:
            if isinstance(image, DgssError):
                _report(on_error, place.name, image)
                continue
            condition = conditions.at(place.recorded_ns)
            self.images.append(
                Frame(place.name, image, place.stamp_ns, condition=condition, jpeg=place.jpeg)
            )

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


class _Images:
    """The pictures of the messages of one topic, of which each is one, or part of a video."""

    def __init__(self) -> None:
        self.video = VideoMessages()

    def take(self, message: BagMessage, name: str) -> Iterator[Decoded]:
        content = deserialized(message)
        place = Place(name, message.stamp_ns, _stamp_ns(message, content))
        if message.msgtype == FFMPEG_PACKET:
            yield from self.video.take(place, content.encoding, content.data)
        elif message.msgtype == FOXGLOVE_VIDEO or (
            message.msgtype == COMPRESSED and codec_of(content.format)
        ):
            yield from self.video.take(place, content.format, content.data)
        else:
            if message.msgtype == COMPRESSED:
                place = replace(place, jpeg=shareable_jpeg(content.data, content.format))
            yield place, _decode(message, content)


class _Conditions:
    """The condition at a time, from the messages of the condition topic."""

    def __init__(self, bag: Bag, topic: str) -> None:
        self._starts, self._names = condition_changes(bag, topic)

    def at(self, stamp_ns: int) -> str | None:
        index = bisect_right(self._starts, stamp_ns) - 1
        return self._names[index] if index >= 0 else None


def condition_changes(
    bag: str | Path | Bag, topic: str
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The times of recording of the messages of a condition topic, sorted, and the conditions.

    A message that is missing is not told here, but when the images are read.
    """
    found = [
        (message.stamp_ns, deserialized(message).data)
        for message in opened(bag).messages({topic}, lambda _: None)
        if message.msgtype == STRING
    ]
    found.sort(key=itemgetter(0))
    return tuple(stamp_ns for stamp_ns, _ in found), tuple(name for _, name in found)


def decode_message(message: BagMessage) -> tuple[int, np.ndarray]:
    """Stamp in nanoseconds and RGB image of an Image or CompressedImage.

    Raises DgssError for a message that is damaged, or a part of a video.
    """
    if message.msgtype in VIDEOS:
        raise DgssError(
            f'{plain(message.topic)} is a video, which can be decoded only in the order of the '
            'messages; write it as images first, with dgss bag write BAG --output IMAGES.'
        )
    content = deserialized(message)
    return _stamp_ns(message, content), _decode(message, content)


def _stamp_ns(message: BagMessage, content: Any) -> int:
    is_foxglove = message.msgtype == FOXGLOVE_VIDEO
    stamp = content.timestamp if is_foxglove else content.header.stamp
    # Some drivers leave the stamp at zero; use the time of recording then.
    stamp_ns = stamp.sec * 10**9 + stamp.nanosec or message.stamp_ns
    if not 0 <= stamp_ns < LAST_STAMP_NS:
        raise DgssError(
            f'A message of {plain(message.topic)} has the time {stamp_ns} ns, which is no stamp; '
            'correct the clock of the sender.'
        )
    return stamp_ns


def _decode(message: BagMessage, content: Any) -> np.ndarray:
    if message.msgtype == COMPRESSED:
        return decode_compressed(content.data, declared=content.format)
    return decode_image(content.data, **_layout(content))


def _layout(content: Any) -> dict[str, Any]:
    names = ('width', 'height', 'step', 'encoding', 'is_bigendian')
    return {name: getattr(content, name) for name in names}


def decode_labels(message: BagMessage) -> tuple[int, np.ndarray]:
    """Stamp in nanoseconds and ids, uint8 (H, W), of an Image; DgssError for another encoding."""
    content = deserialized(message)
    stamp_ns = _stamp_ns(message, content)
    picture = open_image(content.data, **_layout(content))
    if content.encoding not in ('mono8', '8UC1'):
        raise DgssError(
            f'{message.topic} is {shown(content.encoding)}; labels are mono8 images of ids.'
        )
    return stamp_ns, picture.pixels.copy()


def deserialized(message: BagMessage) -> Any:
    """The content of a message, by the names of its fields; DgssError if it is damaged."""
    try:
        return typestore().deserialize_cdr(message.data, message.msgtype)
    # Damaged bytes can raise any exception in the decoder.
    except Exception as error:
        fault = what_it_is(message.data[:HEAD]) or f'damaged ({error}); record it again'
        is_video = message.msgtype.endswith(VIDEO)
        kind = f', compressed video ({plain(message.msgtype)}),' if is_video else ''
        raise DgssError(
            f'A message of {plain(message.topic)} at {message.stamp_ns} ns{kind} is {fault}.'
        ) from error


def _report(on_error: OnError | None, name: str, error: DgssError) -> None:
    if on_error is None:
        raise error
    on_error(name, error)
