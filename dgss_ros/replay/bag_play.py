"""`dgss bag play`: publishes the messages of a bag to live topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rclpy.duration import Duration
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rich.console import Console

from dgss_core.bags import Bag, BagMessage, BagTopic
from dgss_core.bags.bag import opened
from dgss_core.bags.stored import CDR
from dgss_core.commands.limits import at_least
from dgss_core.commands.progress import with_progress
from dgss_core.errors import DgssError, IncompleteError, plain
from dgss_ros.client.session import ros_session, wait_until
from dgss_ros.replay.clock import CLOCK, BagClock
from dgss_ros.replay.message_types import message_class

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a shell."""
UNKNOWN_PERIOD_S = 0.1
"""Between the passes of a bag that does not tell how often its messages come."""
LEAST_PERIOD_S = 0.001
"""Messages that come closer to each other were recorded at one time."""
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
    clock: bool = False,
    wait_for_subscribers: int = 0,
) -> int:
    """Publish the messages of a bag to live topics, at their times or as fast as possible.

    Args:
        bag: bag folder, or an .mcap or .db3 file
        rate: speed; 2 is twice as fast as recorded
        as_fast_as_acknowledged: ignore the times in the bag; publish each message when every
            reliable subscriber has received the previous one
        topics: topics to publish, separated by commas; all by default
        remap: /from:=/to, separated by commas
        loop: start again at the end, a message's period later, until Ctrl-C
        clock: publish the time of the bag on /clock, for nodes with use_sim_time
        wait_for_subscribers: start when the topics have this many subscribers in total

    Returns:
        0, or 1 if the bag holds less than it promises, or nothing that can be published; 130
        after Ctrl-C without --loop.
    """
    check_rate(rate)
    at_least(0, wait_for_subscribers=wait_for_subscribers)
    console = Console(markup=False, highlight=False)
    names, pairs = (text.split(',') if text else () for text in (topics, remap))
    with ros_session('dgss_bag_play') as node:
        player = BagPlayer(
            node,
            bag,
            names,
            pairs,
            as_fast_as_acknowledged=as_fast_as_acknowledged,
            clock=clock,
            report=console.print,
        )
        for topic, reason in player.skipped.items():
            console.print(f'Leaves out {plain(topic)}: {reason}.')
        start, interrupted = time.monotonic(), False
        try:
            with console.status(f'Waiting for {wait_for_subscribers} subscribers ...'):
                while not player.wait_for_subscribers(wait_for_subscribers, timeout_s=1.0):
                    pass
            start = time.monotonic()
            before = -1
            while (loop or before < 0) and player.published > before:
                before = player.published
                if before > 0:
                    time.sleep(player.period_s)
                for _ in with_progress(player.play(rate), f'Playing {bag}', player.count):
                    pass
        except KeyboardInterrupt:
            console.print('Interrupted.')
            interrupted = not loop
        player.flush()
    seconds = time.monotonic() - start
    part = f' of {player.count}' if player.is_short else ''
    console.print(f'Published {player.published}{part} messages of {bag} in {seconds:.1f} s.')
    if interrupted:
        return INTERRUPTED
    return 1 if player.is_short or (player.skipped and not player.published) else 0


def check_rate(rate: float) -> None:
    """Raise DgssError for a speed of a bag that is not above zero and finite."""
    if not 0 < rate < float('inf'):
        raise DgssError(f'{rate} is not a rate to play at; give a number above zero.')


class BagPlayer:
    """Publishers of `node` for the topics of a bag. `skipped`: topics left out, and why.

    `report` gets a sentence about what is not played as it was recorded. `is_short`: the bag held
    less than the `count` messages that it promised, or could not be read whole. `period_s`: the
    mean time between two messages of the busiest topic in the last pass, in seconds.

    `as_fast_as_acknowledged`: ignore the times in the bag; publish each message when all reliable
    subscribers have received the previous one on its topic. A subscriber then receives every
    message, but with a depth of 1 it may replace one before its callback runs.

    `clock`: publish the time of the bag on /clock. `without`: topics to leave out, and why.

    Raises DgssError for an unreadable bag, and for a topic in `topics` that is not in the bag or
    whose type is not installed. If `topics` is empty, topics of such types are skipped.
    """

    def __init__(
        self,
        node: Node,
        bag: str | Path | Bag,
        topics: Collection[str] = (),
        remap: Sequence[str] = (),
        *,
        as_fast_as_acknowledged: bool = False,
        clock: bool = False,
        without: Mapping[str, str] | None = None,
        report: Callable[[str], object] = print,
    ) -> None:
        self._as_fast_as_acknowledged = as_fast_as_acknowledged
        self._report = report
        self._bag = opened(bag)
        for note in self._bag.notes:
            report(note)
        names = _parse_remap(remap)
        known = sorted(topic.name for topic in self._bag.topics)
        if absent := names.keys() - {*known}:
            raise DgssError(
                f'{self._bag.path} has no topic {plain(min(absent))} to remap; it has '
                f'{plain(", ".join(known))}.'
            )
        self.published = self.count = 0
        self.is_short = False
        self.period_s = UNKNOWN_PERIOD_S
        self.skipped: dict[str, str] = {}
        self._publishers: dict[str, Publisher] = {}
        self._types: dict[str, str] = {}
        self._clock = BagClock(node, report, publish=clock)
        left_out = {**(without or {}), **({CLOCK: 'its time is told anew'} if clock else {})}
        for topic in _choose(self._bag, topics):
            name = names.get(topic.name, topic.name)
            if name in left_out:
                self.skipped[topic.name] = left_out[name]
                continue
            try:
                self._publishers[topic.name] = self._publisher(node, topic, name)
            except DgssError as error:
                if topics:
                    raise DgssError(
                        f'{plain(topic.name)} cannot be played: {error}; install its package, or '
                        'leave the topic out.'
                    ) from error
                self.skipped[topic.name] = str(error)
                continue
            self._types[topic.name] = topic.msgtype
            self.count += topic.count

    def wait_for_subscribers(self, count: int, timeout_s: float) -> bool:
        """Return whether the topics have `count` subscribers in total within `timeout_s`."""
        publishers = self._publishers.values()
        return wait_until(
            lambda: sum(p.get_subscription_count() for p in publishers) >= count, timeout_s
        )

    def play(
        self,
        rate: float = 1.0,
        prepare: Callable[[BagMessage], BagMessage] = lambda m: m,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[Published]:
        """Publish every message at its time in the bag divided by `rate`, and yield it.

        `prepare` may change a message before it is published. `check` raises when it is futile to
        wait for the next one. Pauses of more than an hour are skipped. Raises
        DgssError for a rate that is not above zero and finite.
        """
        check_rate(rate)
        self._clock.begin(rate)
        spans: dict[str, tuple[float, float, int]] = {}
        for message in self._bag.messages(self._publishers.keys(), self._tell_short):
            if message.msgtype != self._types[message.topic]:
                continue
            if self._as_fast_as_acknowledged:
                self._clock.pass_to(message.stamp_ns)
            else:
                self._clock.wait_for(message.stamp_ns, check)
            message, now = prepare(message), time.monotonic()
            self.publish(message.topic, message.data)
            self.published += 1
            first_s, _, number = spans.get(message.topic, (now, now, 0))
            spans[message.topic] = first_s, now, number + 1
            if self._as_fast_as_acknowledged:
                # Short waits, so that Ctrl-C is handled.
                while not self._acknowledged(message.topic):
                    pass
            yield Published(message, now)
        first_s, last_s, number = max(spans.values(), key=lambda of: of[2], default=(0, 0, 0))
        period_s = (last_s - first_s) / max(number - 1, 1)
        self.period_s = period_s if period_s >= LEAST_PERIOD_S else UNKNOWN_PERIOD_S

    def publish(self, topic: str, data: bytes) -> None:
        """Publish another serialized message on a topic of the bag."""
        self._publishers[topic].publish(data)

    def tell_start(self) -> None:
        """Publish the time at which the bag starts on /clock, if the clock is published."""
        self._clock.tell(self._bag.start_ns)

    def flush(self) -> None:
        """Wait for the last messages to arrive, up to `FLUSH_S` per topic."""
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=FLUSH_S))

    def _acknowledged(self, topic: str) -> bool:
        return self._publishers[topic].wait_for_all_acked(Duration(seconds=0.2))

    def _tell_short(self, error: IncompleteError) -> None:
        if not self.is_short:
            self._report(str(error))
        self.is_short = True

    def _publisher(self, node: Node, topic: BagTopic, name: str) -> Publisher:
        """Raises DgssError for a topic that cannot be played."""
        if topic.encoding != CDR:
            raise DgssError(f'its messages are {plain(topic.encoding)}, not the CDR of ROS 2')
        if topic.name in self._publishers:
            raise DgssError('it has a second type in this bag')
        message_type = message_class(topic.msgtype)
        try:
            return node.create_publisher(message_type, name, self._qos(topic))
        except (InvalidTopicNameException, ValueError) as error:
            raise DgssError(f'{plain(name)} is not the name of a topic in ROS 2') from error

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


def _choose(bag: Bag, names: Collection[str]) -> list[BagTopic]:
    known = {topic.name for topic in bag.topics}
    if unknown := [name for name in names if name not in known]:
        listed = ', '.join(map(plain, sorted(known))) or 'none'
        raise DgssError(f'{bag.path} has no topic {unknown[0]}; it has {listed}.')
    return [topic for topic in bag.topics if not names or topic.name in names]


def _parse_remap(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if pair.count(':=') != 1 or '' in pair.split(':='):
            raise DgssError(f'{pair!r} is not a remapping; write it as /from:=/to.')
    return dict(pair.split(':=') for pair in pairs)
