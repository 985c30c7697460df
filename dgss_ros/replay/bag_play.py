"""`dgss bag play`: publishes the messages of a bag to live topics."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rich.console import Console

from dgss_core.bags import BagInfo, BagMessage, BagTopic, bag_info, read_messages
from dgss_core.commands.progress import with_progress
from dgss_core.errors import DgssError
from dgss_ros.client.session import ros_session, wait_until
from dgss_ros.replay.message_types import message_class

FLUSH_S = 4.0
"""Slightly more than the 3 s after which a writer asks again for missing acknowledgements."""


class Published(NamedTuple):
    """A message and the time at which it was published, in seconds of time.monotonic."""

    message: BagMessage
    time_s: float


def play(
    bag: Path,
    *,
    rate: float = 1.0,
    as_fast_as_acknowledged: bool = False,
    topics: str | None = None,
    remap: str | None = None,
    loop: bool = False,
    wait_for_subscribers: int = 0,
) -> None:
    """Publish the messages of a bag to live topics, at their times or as fast as possible.

    Args:
        bag: bag folder, or an .mcap or .db3 file
        rate: speed; 2 is twice as fast as recorded
        as_fast_as_acknowledged: ignore the times in the bag; publish each message when every
            reliable subscriber has received the previous one
        topics: topics to publish, separated by commas; all by default
        remap: /from:=/to, separated by commas
        loop: start again at the end, until Ctrl-C
        wait_for_subscribers: start when the topics have this many subscribers in total
    """
    console = Console()
    names, pairs = (text.split(',') if text else () for text in (topics, remap))
    with ros_session('dgss_bag_play') as node:
        player = BagPlayer(node, bag, names, pairs, as_fast_as_acknowledged)
        for topic, reason in player.skipped.items():
            console.print(f'Leaves out {topic}: {reason}.')
        start = time.monotonic()
        try:
            with console.status(f'Waiting for {wait_for_subscribers} subscribers ...'):
                while not player.wait_for_subscribers(wait_for_subscribers, timeout_s=1.0):
                    pass
            start = time.monotonic()
            while True:
                for _ in with_progress(player.play(rate), f'Playing {bag}', player.count):
                    pass
                if not loop:
                    break
        except KeyboardInterrupt:
            console.print('Interrupted.')
        player.flush()
    seconds = time.monotonic() - start
    console.print(f'Published {player.published} messages of {bag} in {seconds:.1f} s.')


class BagPlayer:
    """Publishers of `node` for the topics of a bag. `skipped`: topics left out, and why.

    `as_fast_as_acknowledged`: ignore the times in the bag; publish each message when all reliable
    subscribers have received the previous one on its topic. A subscriber then receives every
    message, but with a depth of 1 it may replace one before its callback runs.

    Raises DgssError for an unreadable bag, and for a topic in `topics` that is not in the bag or
    whose type is not installed. If `topics` is empty, topics of such types are skipped.
    """

    def __init__(
        self,
        node: Node,
        bag: str | Path,
        topics: Collection[str] = (),
        remap: Sequence[str] = (),
        as_fast_as_acknowledged: bool = False,
    ) -> None:
        self._as_fast_as_acknowledged = as_fast_as_acknowledged
        self._bag = Path(bag)
        info = bag_info(self._bag)
        names = _parse_remap(remap)
        self.published = 0
        self.skipped: dict[str, str] = {}
        self._publishers: dict[str, Publisher] = {}
        chosen = _choose(info, topics)
        for topic in chosen:
            try:
                message_type = message_class(topic.msgtype)
            except DgssError as error:
                if topics:
                    raise DgssError(
                        f'{topic.name} cannot be played: {error}; install its package.'
                    ) from error
                self.skipped[topic.name] = str(error)
                continue
            self._publishers[topic.name] = node.create_publisher(
                message_type, names.get(topic.name, topic.name), self._qos(topic)
            )
        self.count = sum(topic.count for topic in chosen if topic.name in self._publishers)

    def wait_for_subscribers(self, count: int, timeout_s: float) -> bool:
        """Return whether the topics have `count` subscribers in total within `timeout_s`."""
        publishers = self._publishers.values()
        return wait_until(
            lambda: sum(p.get_subscription_count() for p in publishers) >= count, timeout_s
        )

    def play(self, rate: float = 1.0) -> Iterator[Published]:
        """Publish every message at its time in the bag divided by `rate`, and yield it.

        Raises DgssError for a rate that is not above zero and finite.
        """
        if not 0 < rate < float('inf'):
            raise DgssError(f'{rate} is not a rate to play at; give a number above zero.')
        first_ns, start = None, 0.0
        for message in read_messages(self._bag, self._publishers.keys()):
            if first_ns is None:
                first_ns, start = message.stamp_ns, time.monotonic()
            if not self._as_fast_as_acknowledged:
                due = start + (message.stamp_ns - first_ns) / 1e9 / rate
                time.sleep(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            self.publish(message.topic, message.data)
            self.published += 1
            if self._as_fast_as_acknowledged:
                # Short waits, so that Ctrl-C is handled.
                while not self._acknowledged(message.topic):
                    pass
            yield Published(message, now)

    def publish(self, topic: str, data: bytes) -> None:
        """Publish another serialized message on a topic of the bag."""
        self._publishers[topic].publish(data)

    def flush(self) -> None:
        """Wait for the last messages to arrive, up to `FLUSH_S` per topic."""
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=FLUSH_S))

    def _acknowledged(self, topic: str) -> bool:
        return self._publishers[topic].wait_for_all_acked(Duration(seconds=0.2))

    def _qos(self, topic: BagTopic) -> QoSProfile:
        """Return reliable QoS, which matches every subscriber; latched if the topic was."""
        # A writer requests an acknowledgement at once only when its history is full.
        single = topic.latched or self._as_fast_as_acknowledged
        return QoSProfile(
            depth=1 if single else 10,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
            ),
        )


def _choose(info: BagInfo, names: Collection[str]) -> list[BagTopic]:
    known = {topic.name: topic for topic in info.topics}
    if unknown := [name for name in names if name not in known]:
        raise DgssError(
            f'{info.path} has no topic {unknown[0]}; it has {", ".join(known) or "none"}.'
        )
    return [topic for topic in info.topics if not names or topic.name in names]


def _parse_remap(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if pair.count(':=') != 1 or '' in pair.split(':='):
            raise DgssError(f'{pair!r} is not a remapping; write it as /from:=/to.')
    return dict(pair.split(':=') for pair in pairs)
