"""`dgss bag replay`: plays a bag through a live node; records its masks and their latencies."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Set
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from rich.console import Console
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from dgss_core.bags import Bag, BagMessage, BagRecorder, image_topic
from dgss_core.bags.bag import opened
from dgss_core.bags.interfaces import IMAGE, STRING
from dgss_core.commands.progress import with_progress
from dgss_core.errors import DgssError
from dgss_core.evaluation.live import ARRAY, DIAGNOSTICS, REPLAY, pack
from dgss_core.images.compressed import encode_jpeg
from dgss_ros.client.session import ros_session, wait_until
from dgss_ros.node.messages import raw_stamp_ns, to_image
from dgss_ros.replay.bag_play import BagPlayer
from dgss_ros.replay.stamps import HEADED, Stamps

NODE = '/dgss'
MASK_TOPIC = f'{NODE}/mask'
ANSWER_S = 0.5
LAST_ANSWER_S = 3.0
TRIES, EACH_S = 5, 2.0
"""In a lossless replay: how often a frame is sent, and how long each time waits for its mask."""


def replay(
    bag: Path,
    *,
    output: Path,
    rate: float = 1.0,
    image: str | None = None,
    node: str = NODE,
    wait: float = 60.0,
    overwrite: bool = False,
    lossless: bool = False,
) -> int:
    """Play a bag to a running node, and record its masks and confidences with their stamps.

    A node takes the newest image whenever it is free; a busy one leaves frames without a mask.
    Ctrl-C keeps what has been recorded. An image without a stamp is sent with the time of its
    recording, and one with the stamp of another a nanosecond later, so that masks are told apart.

    Args:
        bag: bag folder, or an .mcap or .db3 file
        output: bag folder to write
        rate: speed; 2 is twice as fast as recorded
        image: topic of the images in the bag; by default the image topic of the bag
        node: full name of the node
        wait: seconds to wait until the node answers
        overwrite: replace an existing bag
        lossless: wait for the mask of each frame before the next one, whatever the rate

    Returns:
        0, or 1 if frames got no mask, or the bag holds less than it promises.
    """
    drive_bag = Bag(bag)
    topic = image_topic(drive_bag, image).name
    with ros_session('dgss_bag_replay') as ros:
        drive = Drive(drive_bag, topic, rate, lossless)
        times = play_through_node(ros, drive, output, node=node, wait_s=wait, overwrite=overwrite)
    console = Console(markup=False)
    if times.restamped:
        console.print(
            f'{times.restamped} images had no stamp, or that of an image before them; they and '
            'their masks have the time of their recording, or the next nanosecond.'
        )
    console.print(f'{len(times.sent)} frames sent, {len(times.received)} masks in {output}.')
    missing = len(times.sent.keys() - times.received.keys())
    if missing:
        slower = 'a faster machine' if lossless else 'a lower --rate, or --lossless'
        console.print(
            f'{missing} frames got no mask. A busy node takes only the newest image: use '
            f'{slower}; /diagnostics counts the dropped, skipped and rejected images.'
        )
    if times.received:
        p50, p95, p99 = np.percentile(times.latencies_ms, (50, 95, 99))
        console.print(f'Latency p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms.')
    return 1 if missing or times.is_short else 0


@dataclass(frozen=True)
class Drive:
    """A bag to play at `rate` times its speed, and the topic of its images.

    `lossless`: each frame waits for the answers to the one before.
    """

    bag: str | Path | Bag
    topic: str
    rate: float = 1.0
    lossless: bool = False


@dataclass(frozen=True)
class Replay:
    """Times at which frames were published and masks received: monotonic seconds by stamp.

    `restamped`: images that were sent with another stamp than their own. `is_short`: the bag held
    less than it promised.
    """

    sent: dict[int, float]
    received: dict[int, float]
    restamped: int = 0
    is_short: bool = False

    @property
    def latencies_ms(self) -> np.ndarray:
        return np.array([1e3 * (t - self.sent[stamp]) for stamp, t in self.received.items()])


def play_through_node(
    ros: Node,
    drive: Drive,
    masks: Path,
    *,
    node: str = NODE,
    wait_s: float = 30.0,
    check: Callable[[], None] = lambda: None,
    overwrite: bool = True,
) -> Replay:
    """Play `drive` to an active node and record its answers in the bag `masks`.

    `check` raises when the node has ended. What was recorded before an error or Ctrl-C is kept.
    Raises DgssError when there is no answer within `wait_s` seconds.
    """
    sent: dict[int, float] = {}
    stamps, played = Stamps(), opened(drive.bag)
    inputs = [played.path]

    def prepare(message: BagMessage) -> BagMessage:
        return stamps.unique(message) if message.topic == drive.topic else message

    with BagRecorder(masks, overwrite=overwrite, keep_partial=True, inputs=inputs) as bag:
        answers = _Answers(ros, bag, node)
        player = BagPlayer(ros, played, report=_say)
        _wait_for_answers(player, drive.topic, answers, wait_s, check)
        try:
            playing = player.play(drive.rate, prepare)
            with closing(with_progress(playing, 'Driving', player.count)) as shown:
                for message, time_s in shown:
                    if message.topic == drive.topic and len(message.data) >= HEADED:
                        stamp_ns = raw_stamp_ns(message.data)
                        sent[stamp_ns] = time_s
                        check()
                        if drive.lossless:
                            again = partial(player.publish, drive.topic, message.data)
                            answers.wait_for(stamp_ns, again)
                    answers.record()
            wait_until(lambda: answers.complete(sent.keys()), LAST_ANSWER_S)
            answers.record_times(sent)
        except BaseException:
            answers.record_times(sent)
            print(f'{len(answers.received)} masks are kept in {masks}.', file=sys.stderr)
            raise
    return Replay(sent, answers.received, stamps.changed, player.is_short)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _wait_for_answers(
    player: BagPlayer,
    topic: str,
    answers: _Answers,
    wait_s: float,
    check: Callable[[], None],
) -> None:
    """Send a grey image without a stamp until it is answered.

    Only an answer proves that the topics are connected in both directions: a publisher discovers
    a subscriber later than the subscriber discovers it.
    """
    grey = np.full((48, 64, 3), 128, np.uint8)
    image: Image | CompressedImage = to_image(Header(), grey, 'rgb8')
    if topic.endswith('/compressed'):
        image = CompressedImage(format='jpeg', data=encode_jpeg(grey))
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        player.publish(topic, serialize_message(image))
        if wait_until(answers.connected, ANSWER_S):
            return
        check()
    raise DgssError(
        f'Images on {topic} are not answered (waited {wait_s:g} s); check the log of the node, '
        'and the topic that it takes images from.'
    )


class _Answers:
    """Receives masks, confidences and diagnostics, and writes them to the bag."""

    def __init__(self, ros: Node, bag: BagRecorder, node: str) -> None:
        topics = (f'{node}/mask', f'{node}/confidence')
        self._bag = bag
        self._connected: set[str] = set()
        self._resent: set[int] = set()
        self._waiting: SimpleQueue[tuple[str, float, bytes]] = SimpleQueue()
        self._times: dict[str, dict[int, float]] = {topic: {} for topic in topics}
        self.received = self._times[topics[0]]
        self._replay = f'{node}/{REPLAY}'
        for topic in topics:
            keep = partial(self._keep, topic)
            ros.create_subscription(Image, topic, keep, QoSProfile(depth=50), raw=True)
        self._diagnostics: SimpleQueue[bytes] = SimpleQueue()
        ros.create_subscription(DiagnosticArray, DIAGNOSTICS, self._diagnostics.put, 10, raw=True)

    def connected(self) -> bool:
        """Return whether every topic has answered an image without a stamp."""
        return self._connected == self._times.keys()

    def wait_for(self, stamp_ns: int, send_again: Callable[[], None]) -> None:
        """Wait until every topic has answered a frame; send it again, as best effort loses some.

        Returns without the answers after `TRIES`: the node may refuse the frame.
        """
        for number in range(TRIES):
            if number:
                self._resent.add(stamp_ns)
                send_again()
            if wait_until(lambda: self.complete({stamp_ns}), EACH_S):
                return

    def complete(self, stamps: Set[int]) -> bool:
        """Write the received messages; returns whether every topic has answered all `stamps`."""
        self.record()
        return all(times.keys() >= stamps for times in self._times.values())

    def record(self) -> None:
        """Write the received messages."""
        while not self._waiting.empty():
            topic, time_s, raw = self._waiting.get()
            stamp_ns = raw_stamp_ns(raw)
            if stamp_ns in self._resent and stamp_ns in self._times[topic]:
                continue
            self._bag.record(topic, IMAGE, stamp_ns, raw)
            self._times[topic][stamp_ns] = time_s
        while not self._diagnostics.empty():
            raw = self._diagnostics.get()
            self._bag.record(DIAGNOSTICS, ARRAY, raw_stamp_ns(raw), raw)

    def record_times(self, sent: Mapping[int, float]) -> None:
        """Write the rest, and when each image was sent and each mask received."""
        self.record()
        text = serialize_message(String(data=pack(sent, self.received)))
        self._bag.record(self._replay, STRING, max(sent, default=0), text)

    def _keep(self, topic: str, raw: bytes) -> None:
        # The recorder is not thread-safe, and this thread must not wait for the disk.
        if raw_stamp_ns(raw) == 0:
            self._connected.add(topic)
        else:
            self._waiting.put((topic, time.monotonic(), raw))
