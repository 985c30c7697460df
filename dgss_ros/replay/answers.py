"""What the node answers to a replay: received on a thread of ROS, written to a bag by another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from functools import partial
from queue import SimpleQueue

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String

from dgss_core.bags import BagRecorder
from dgss_core.bags.interfaces import IMAGE, STRING
from dgss_core.bags.stored import raw_stamp_ns
from dgss_core.errors import DgssError, one_line
from dgss_core.evaluation.live import ARRAY, DIAGNOSTICS, LABELS, REPLAY, Coverage, pack
from dgss_ros.client.node_watch import NodeWatch
from dgss_ros.client.session import checked, wait_until
from dgss_ros.node.naming import CameraTopics, name_of
from dgss_ros.node.qos import LATCHED_QOS
from dgss_ros.replay.listener import Listener

TRIES, EACH_S = 5, 2.0
"""In a lossless replay: how often a frame is sent, and how long each time waits for its mask."""
UNANSWERED_S, UNANSWERED = 120.0, 10
"""Longest time without a mask while at least so many images are sent; a slow network takes 10 s
for one."""


def labels_topic(camera: CameraTopics) -> str:
    """Where a recording has the labels of a camera.

    It is beside the masks, also where the node has them once for all its cameras.
    """
    return f'{camera.outputs}/{LABELS}'


class CameraAnswers:
    """The masks and confidences of one camera, and the labels of its node.

    `received`: when each mask was received, in monotonic seconds by stamp. `only_timed`: stamps
    whose answers are not written. `rejected`, `failed`: how many images the node did not answer
    since its first diagnostics, `last_error`: why the last one. `watch`: of its node. `resent`:
    stamps of the images that were sent more than once. `foreign`: masks of images that were not
    noted as sent, which are not written. `coverage`: of the masks, to be written with the times.
    """

    def __init__(
        self, ros: Node, bag: BagRecorder, camera: CameraTopics, watch: NodeWatch
    ) -> None:
        self.camera = camera
        self.watch = watch
        self.rejected = self.failed = 0
        self.last_error = self._warning = ''
        self._first: tuple[int, int] | None = None
        self._status = f'{camera.node.lstrip("/")}: {name_of(camera)} frames'.replace(':  ', ': ')
        self._unanswered: list[float] = []
        topics = (f'{camera.outputs}/mask', f'{camera.outputs}/confidence')
        self._bag = bag
        self._connected: set[str] = set()
        self._sent: set[int] = set()
        self.resent: set[int] = set()
        self.foreign = 0
        self.coverage: Coverage | None = None
        self.only_timed: set[int] = set()
        self._waiting: SimpleQueue[tuple[str, float, bytes]] = SimpleQueue()
        self._times: dict[str, dict[int, float]] = {topic: {} for topic in topics}
        self._labels = self._labels_written = b''
        self.received = self._times[topics[0]]
        self._listeners = [
            Listener(ros, topic, partial(self._keep, topic), partial(self._connect, topic))
            for topic in topics
        ]
        labels = f'{camera.node}/{LABELS}'
        ros.create_subscription(String, labels, self._keep_labels, LATCHED_QOS, raw=True)
        self._has_labels = lambda: bool(self._labels) or not ros.count_publishers(labels)

    @property
    def fault(self) -> str:
        """A sentence about the images that the node could not answer; empty without any."""
        if not self.rejected + self.failed:
            return ''
        return f'The node could not answer some images, the last one: {one_line(self.last_error)}'

    def connected(self) -> bool:
        """Return whether every topic has answered an image without a stamp, and the labels are
        known, if the node has any.
        """
        return self._connected == self._times.keys() and self._has_labels()

    def note_sent(self, stamp_ns: int) -> None:
        """Note that a frame will be sent now, which the answers tell by its stamp."""
        self._sent.add(stamp_ns)
        self._unanswered.append(time.monotonic())

    def check(self) -> None:
        """Raise DgssError when it is futile to wait for more masks."""
        self.watch.check()
        sent = self._unanswered
        if len(sent) >= UNANSWERED and sent[-1] - sent[0] > UNANSWERED_S:
            reason = f' ({one_line(self._warning)})' if self._warning else ''
            raise DgssError(
                f'The node {self.camera.node} is active, but has answered no image on '
                f'{self.camera.image} for {UNANSWERED_S:g} s{reason}; see its log and '
                f'{DIAGNOSTICS}.'
            )

    def wait_for(
        self, stamp_ns: int, send_again: Callable[[], None], check: Callable[[], None]
    ) -> None:
        """Wait until every topic has answered a frame; send it again, as best effort loses some.

        Returns without the answers after `TRIES`, or when the node rejects the frame. `check`
        raises when it is futile to wait.
        """
        rejected = self.rejected

        def done() -> bool:
            return self.complete({stamp_ns}) or self.rejected > rejected

        for number in range(TRIES):
            if number:
                self.resent.add(stamp_ns)
                self.note_sent(stamp_ns)
                send_again()
            if wait_until(checked(done, check), EACH_S):
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
            times = self._times[topic]
            if stamp_ns not in self._sent:
                self.foreign += times is self.received
                continue
            if stamp_ns in times:
                continue
            if stamp_ns not in self.only_timed:
                # Before the masks: what plays the recording needs them for the first.
                self._write_labels(stamp_ns)
                self._bag.record(topic, IMAGE, stamp_ns, raw)
            times[stamp_ns] = time_s

    def record_times(self, sent: Mapping[int, float]) -> None:
        """Write the rest, the labels, and when each image was sent and each mask received."""
        self.record()
        last_ns = max(sent, default=0)
        text = pack(sent, self.received, resent=self.resent, coverage=self.coverage)
        times = serialize_message(String(data=text))
        self._bag.record(f'{self.camera.outputs}/{REPLAY}', STRING, last_ns, times)
        self._write_labels(last_ns)

    def _write_labels(self, stamp_ns: int) -> None:
        """Write the labels if they are new."""
        labels = self._labels
        if labels != self._labels_written:
            self._bag.record(labels_topic(self.camera), STRING, stamp_ns, labels)
            self._labels_written = labels

    def _connect(self, topic: str) -> None:
        self._connected.discard(topic)

    def _keep(self, topic: str, raw: bytes) -> None:
        # The recorder is not thread-safe, and this thread must not wait for the disk.
        if raw_stamp_ns(raw) <= 0:
            self._connected.add(topic)
        else:
            self._waiting.put((topic, time.monotonic(), raw))
            self._unanswered = []
            self.watch.heard()

    def note_status(self, status: DiagnosticStatus) -> None:
        """Note what the diagnostics tell about the frames of this camera."""
        if status.name != self._status:
            return
        is_well = status.level == DiagnosticStatus.OK
        self._warning = '' if is_well else status.message
        values = {entry.key: entry.value for entry in status.values}
        with suppress(KeyError, ValueError):  # another node may say anything
            now = int(values['rejected']), int(values['failed'])
            self._first = first = self._first or now
            self.rejected, self.failed = (n - f for n, f in zip(now, first, strict=True))
            self.last_error = values['last_error']

    def _keep_labels(self, raw: bytes) -> None:
        self._labels = raw


class Answers:
    """The answers to all image topics, and the diagnostics.

    `cameras`: by the topic of their images in the bag that is played. `check` raises when the
    process of a node, if it is a child, has ended. `played_ns`: stamp of the image that was sent
    last, which becomes the time of the diagnostics in the bag.
    """

    def __init__(
        self,
        ros: Node,
        bag: BagRecorder,
        cameras: Mapping[str, CameraTopics],
        check: Callable[[], None],
    ) -> None:
        self._bag = bag
        self._check = check
        self.played_ns = 0
        nodes = sorted({camera.node for camera in cameras.values()})
        self._watches = {node: NodeWatch(ros, node) for node in nodes}
        self.of = {
            topic: CameraAnswers(ros, bag, camera, self._watches[camera.node])
            for topic, camera in cameras.items()
        }
        self._diagnostics: SimpleQueue[bytes] = SimpleQueue()
        ros.create_subscription(DiagnosticArray, DIAGNOSTICS, self._keep, 10, raw=True)

    def begin(self) -> None:
        """Expect active nodes from now on."""
        for watch in self._watches.values():
            watch.begin()

    def check(self) -> None:
        """Raise DgssError when a node has ended, hangs or is no longer active."""
        self._check()
        for answers in self.of.values():
            answers.check()

    def confirm(self) -> None:
        """Raise DgssError unless every node shows that it is still active."""
        for watch in self._watches.values():
            watch.confirm()

    def state_of(self, node: str) -> str:
        """The state of the lifecycle of a node; empty if it tells none."""
        return self._watches[node].state

    @property
    def states(self) -> str:
        """The states of the nodes that tell one: `/dgss is inactive`."""
        known = [(node, watch.state) for node, watch in self._watches.items() if watch.state]
        return ', '.join(f'{node} is {state}' for node, state in known)

    def record(self) -> None:
        """Write the received messages."""
        for answers in self.of.values():
            answers.record()
        while self.played_ns and not self._diagnostics.empty():
            # Their own stamps may be of the clock on the wall, years after those of the masks.
            self._bag.record(DIAGNOSTICS, ARRAY, self.played_ns, self._diagnostics.get())

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

    def _keep(self, raw: bytes) -> None:
        self._diagnostics.put(raw)
        for status in deserialize_message(raw, DiagnosticArray).status:
            for answers in self.of.values():
                answers.note_status(status)
