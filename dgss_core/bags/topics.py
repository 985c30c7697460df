"""The topics of a bag, from its metadata and its files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from dgss_core.bags.interfaces import COMPRESSED, IMAGE
from dgss_core.bags.stored import CDR, StorageFile, StoredTopic
from dgss_core.errors import plain, shown

VIDEO = ('Video', 'FFMPEGPacket')
"""How the names of types of compressed video end."""


@dataclass(frozen=True)
class BagTopic:
    """`count`: the messages that the bag promises, of which `stored` are counted in its files.

    `rate`: in Hz over the bag without its gaps; `latched`: late subscribers get the last message.
    `encoding`: of the messages, cdr for those of ROS 2.
    """

    name: str
    msgtype: str
    count: int
    rate: float
    latched: bool
    stored: int = 0
    encoding: str = CDR


def typed_by_files(
    named: Iterable[StoredTopic], files: Iterable[StorageFile]
) -> tuple[list[StoredTopic], list[StoredTopic]]:
    """The topics `named` in the metadata with the types of the files, and those that had others.

    A type is replaced where the files hold a topic with one other type only.
    """
    kinds: dict[str, set[str]] = defaultdict(set)
    for file in files:
        for topic in file.topics:
            kinds[topic.name].add(topic.msgtype)
    topics, others = [], []
    for topic in named:
        found = kinds[topic.name]
        if len(found) == 1 and topic.msgtype not in found:
            others.append(topic)
            topic = replace(topic, msgtype=next(iter(found)))
        topics.append(topic)
    return topics, others


def merged_topics(
    named: Iterable[StoredTopic], files: Iterable[StorageFile], duration_ns: int
) -> tuple[BagTopic, ...]:
    """One topic for each name and type, whatever file and QoS it has in them."""
    stored: Counter[tuple[str, str]] = Counter()
    counted: Counter[tuple[str, str]] = Counter()
    encodings, latched = {}, set()
    for topics, counts in ((named, counted), *((file.topics, stored) for file in files)):
        for topic in topics:
            key = topic.name, topic.msgtype
            counts[key] += topic.count
            encodings[key] = topic.encoding
            latched |= {topic.name} if topic.latched else set()
    return tuple(
        BagTopic(
            name=name,
            msgtype=msgtype,
            count=(count := max(counted[name, msgtype], stored[name, msgtype])),
            rate=rate_of(count, duration_ns),
            latched=name in latched,
            stored=stored[name, msgtype],
            encoding=encodings[name, msgtype],
        )
        for name, msgtype in sorted(encodings)
    )


def rate_of(count: int, length_ns: int) -> float:
    """Messages per second; 0 if that is unknown."""
    return (count - 1) * 1e9 / length_ns if length_ns > 0 and count else 0.0


def why_short(missing: Iterable[tuple[str, int, int]], faults: Collection[str]) -> list[str]:
    """What to say of topics of which fewer messages come than are promised, and of `faults`.

    `missing`: the name of each, the messages that came, and those that were promised.
    """
    reasons = [
        f'{came} of {promised} messages of {plain(name)} are there'
        for name, came, promised in missing
    ]
    if reasons and not faults:
        reasons[0] += ', the rest was never written, or ros2 bag reindex counts anew'
    return [*reasons, *faults]


def why_no_images(topics: Iterable[BagTopic], faults: Sequence[str]) -> str:
    """What the bag holds instead, and what to do."""
    if faults:
        return f'holds no images that can be read: {"; ".join(faults)}'
    for topic in topics:
        kind = shown(topic.msgtype)
        if topic.encoding == 'ros1':
            return (
                'holds ROS 1 messages; convert the .bag that it was made from with rosbags-convert'
            )
        if topic.msgtype.endswith(VIDEO):
            return (
                f'holds compressed video ({kind}), of which not every message is an image; write '
                'it as images first, with dgss bag write BAG --output IMAGES'
            )
        if topic.encoding != CDR and 'image' in topic.msgtype.lower():
            return (
                f'holds images as {kind} in {shown(topic.encoding)}, not as ROS 2 messages; '
                f'record {IMAGE} or {COMPRESSED}'
            )
    return 'holds no images; give a bag that was recorded from a camera'
