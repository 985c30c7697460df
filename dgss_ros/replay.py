"""A bag through a live node: frames out, masks back, timed and recorded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dgss_core.bags import BagRecorder
from dgss_core.commands.progress import with_progress
from dgss_core.errors import DgssError
from dgss_ros.bag_play import BagPlayer
from dgss_ros.messages import raw_stamp_ns, to_image
from dgss_ros.process import ActiveNode
from dgss_ros.session import wait_until

MASK_TOPIC, CONFIDENCE_TOPIC = '/dgss/mask', '/dgss/confidence'
GREETINGS, GREETING_S = 60, 0.5
LAST_MASK_S = 3.0


@dataclass(frozen=True)
class Replay:
    """When each frame was published and its mask received, by stamp, in monotonic seconds."""

    sent: dict[int, float]
    received: dict[int, float]

    @property
    def latencies_ms(self) -> np.ndarray:
        return np.array([1e3 * (t - self.sent[stamp]) for stamp, t in self.received.items()])


def replay(drive: Path, masks: Path, node: ActiveNode, image_topic: str) -> Replay:
    """Play the bag `drive` to an active node at its own pace; record the answers as bag `masks`.

    Raises DgssError when the node does not listen to `image_topic` or ends meanwhile.
    """
    sent: dict[int, float] = {}
    with BagRecorder(masks, overwrite=True) as bag:
        answers = _Answers(node.ros, bag)
        player = BagPlayer(node.ros, drive)
        _greet(node, player, image_topic, answers)
        for message, time_s in with_progress(player.play(), 'Driving', player.count):
            if message.topic == image_topic:
                sent[raw_stamp_ns(message.data)] = time_s
                node.check()
            answers.record()
        wait_until(lambda: answers.record() >= sent.keys(), LAST_MASK_S)
    return Replay(sent, answers.received)


def _greet(node: ActiveNode, player: BagPlayer, image_topic: str, answers: _Answers) -> None:
    """Send a grey picture without a stamp until it is answered.

    Only then does each side know of the other: a publisher learns of its subscriber a moment
    after the subscriber learned of it.
    """
    grey = to_image(Header(), np.full((48, 64), 128, np.uint8), 'mono8')
    for _ in range(GREETINGS):
        player.publish(image_topic, serialize_message(grey))
        if wait_until(answers.complete, GREETING_S):
            return
        node.check()
    raise DgssError(f'The node does not answer images on {image_topic}; its log is {node.log}.')


class _Answers:
    """Masks and confidences on their way from the subscriptions to the bag."""

    def __init__(self, ros: Node, bag: BagRecorder) -> None:
        self.received: dict[int, float] = {}
        self._bag = bag
        self._greeted: set[str] = set()
        self._waiting: SimpleQueue[tuple[str, float, bytes]] = SimpleQueue()
        for topic in (MASK_TOPIC, CONFIDENCE_TOPIC):
            keep = partial(self._keep, topic)
            ros.create_subscription(Image, topic, keep, QoSProfile(depth=50), raw=True)

    def complete(self) -> bool:
        """Whether every topic has brought the answer to a greeting."""
        return self._greeted >= {MASK_TOPIC, CONFIDENCE_TOPIC}

    def record(self) -> set[int]:
        """Write what has arrived; returns the stamps of all masks so far."""
        while not self._waiting.empty():
            topic, time_s, raw = self._waiting.get()
            stamp_ns = raw_stamp_ns(raw)
            self._bag.record(topic, 'sensor_msgs/msg/Image', stamp_ns, raw)
            if topic == MASK_TOPIC:
                self.received[stamp_ns] = time_s
        return set(self.received)

    def _keep(self, topic: str, raw: bytes) -> None:
        # The recorder serves one thread only, and this one must not wait for the disk.
        if raw_stamp_ns(raw) == 0:
            self._greeted.add(topic)
        else:
            self._waiting.put((topic, time.monotonic(), raw))
