"""What the node answers to a replay: received on a thread of ROS, written to a bag by another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set
from functools import partial
from queue import SimpleQueue

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import String

from dgss_core.bags import BagRecorder
from dgss_core.bags.interfaces import IMAGE, STRING
from dgss_core.bags.stored import raw_stamp_ns
from dgss_core.evaluation.live import ARRAY, DIAGNOSTICS, LABELS, REPLAY, pack
from dgss_ros.client.session import wait_until
from dgss_ros.node.naming import CameraTopics
from dgss_ros.node.qos import LATCHED_QOS

TRIES, EACH_S = 5, 2.0
"""In a lossless replay: how often a frame is sent, and how long each time waits for its mask."""


class CameraAnswers:
    """The masks and confidences of one camera, and the labels of its node.

    `received`: when each mask was received, in monotonic seconds by stamp. `only_timed`: stamps
    whose answers are not written.
    """

    def __init__(self, ros: Node, bag: BagRecorder, camera: CameraTopics) -> None:
        self.camera = camera
        topics = (f'{camera.outputs}/mask', f'{camera.outputs}/confidence')
        self._bag = bag
        self._connected: set[str] = set()
        self._resent: set[int] = set()
        self.only_timed: set[int] = set()
        self._waiting: SimpleQueue[tuple[str, float, bytes]] = SimpleQueue()
        self._times: dict[str, dict[int, float]] = {topic: {} for topic in topics}
        self._labels = b''
        self.received = self._times[topics[0]]
        for topic in topics:
            keep = partial(self._keep, topic)
            ros.create_subscription(Image, topic, keep, QoSProfile(depth=50), raw=True)
        labels = f'{camera.node}/{LABELS}'
        ros.create_subscription(String, labels, self._keep_labels, LATCHED_QOS, raw=True)

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
            if stamp_ns not in self.only_timed:
                self._bag.record(topic, IMAGE, stamp_ns, raw)
            self._times[topic][stamp_ns] = time_s

    def record_times(self, sent: Mapping[int, float]) -> None:
        """Write the rest, the labels, and when each image was sent and each mask received."""
        self.record()
        last_ns = max(sent, default=0)
        times = serialize_message(String(data=pack(sent, self.received)))
        self._bag.record(f'{self.camera.outputs}/{REPLAY}', STRING, last_ns, times)
        if self._labels:
            # Beside the masks, also where the node has them once for all its cameras.
            self._bag.record(f'{self.camera.outputs}/{LABELS}', STRING, last_ns, self._labels)

    def _keep(self, topic: str, raw: bytes) -> None:
        # The recorder is not thread-safe, and this thread must not wait for the disk.
        if raw_stamp_ns(raw) == 0:
            self._connected.add(topic)
        else:
            self._waiting.put((topic, time.monotonic(), raw))

    def _keep_labels(self, raw: bytes) -> None:
        self._labels = raw


class Answers:
    """The answers to all image topics, and the diagnostics.

    `cameras`: by the topic of their images in the bag that is played.
    """

    def __init__(self, ros: Node, bag: BagRecorder, cameras: Mapping[str, CameraTopics]) -> None:
        self._bag = bag
        self.of = {topic: CameraAnswers(ros, bag, camera) for topic, camera in cameras.items()}
        self._diagnostics: SimpleQueue[bytes] = SimpleQueue()
        ros.create_subscription(DiagnosticArray, DIAGNOSTICS, self._diagnostics.put, 10, raw=True)

    def record(self) -> None:
        """Write the received messages."""
        for answers in self.of.values():
            answers.record()
        while not self._diagnostics.empty():
            raw = self._diagnostics.get()
            # Before the first /clock a node with use_sim_time knows no time.
            if stamp_ns := raw_stamp_ns(raw):
                self._bag.record(DIAGNOSTICS, ARRAY, stamp_ns, raw)

    def complete(self, sent: Mapping[str, Mapping[int, float]]) -> bool:
        """Write the received messages; returns whether all images in `sent` are answered."""
        self.record()
        return all(self.of[topic].complete(stamps.keys()) for topic, stamps in sent.items())

    def record_times(self, sent: Mapping[str, Mapping[int, float]]) -> int:
        """Write the rest, with the times of each camera; returns the number of masks."""
        self.record()
        for topic, answers in self.of.items():
            answers.record_times(sent[topic])
        return sum(len(answers.received) for answers in self.of.values())
