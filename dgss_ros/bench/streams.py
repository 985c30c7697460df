"""Streams of frames to the node, with the times of the frames and of their answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dgss_core.errors import DgssError
from dgss_core.synthetic import CONDITIONS, StreetDrive
from dgss_ros.client.session import checked, wait_until
from dgss_ros.node.messages import stamp_ns, to_image

LOST_S = 2.0
MATCH_S = 20.0


class Stream:
    """Publishes frames on `image_topic`; a frame is answered once all `answer_topics` answered it.

    `sent` and `answered`: times in seconds of time.perf_counter, by the stamp of the frame.
    `check` raises DgssError when the program that answers has ended or hangs.
    """

    def __init__(
        self,
        ros: Node,
        images: Sequence[np.ndarray],
        image_topic: str,
        answer_topics: Sequence[str],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.check = check
        self.sent: dict[int, float] = {}
        self.answered: dict[int, float] = {}
        self._missing: dict[int, int] = {}
        self._answers = len(answer_topics)
        self._topic = image_topic
        self._news = threading.Event()
        self._publisher = ros.create_publisher(Image, image_topic, QoSProfile(depth=1))
        for topic in answer_topics:
            ros.create_subscription(Image, topic, self._take, QoSProfile(depth=5))
        bgr = (np.ascontiguousarray(image[..., ::-1]) for image in images)
        self._messages = cycle([to_image(Header(frame_id='bench'), i, 'bgr8') for i in bgr])
        self._count = 0

    def connect(self) -> None:
        """Wait until frames are answered: the node discovers its subscriber later than we do.

        Raises DgssError when no frame is answered.
        """
        has_subscriber = checked(lambda: self._publisher.get_subscription_count() > 0, self.check)
        found = wait_until(has_subscriber, MATCH_S)
        if not found or all(np.isnan(self.round_trip()) for _ in range(10)):
            raise DgssError(
                f'The frames on {self._topic} are not answered; run dgss demo, which keeps the '
                'log of the node.'
            )
        self.sent.clear()

    def round_trip(self) -> float:
        """Publish a frame; returns the seconds until its answer, nan if it is lost."""
        stamp = self.publish()
        end = self.sent[stamp] + LOST_S
        while stamp not in self.answered:
            if not self._news.wait(max(0.0, end - time.perf_counter())):
                self.check()
                return float('nan')
            self._news.clear()
        return self.answered[stamp] - self.sent[stamp]

    def publish(self) -> int:
        """Publish the next frame; returns its stamp."""
        message = next(self._messages)
        self._count += 1
        message.header.stamp = Time(sec=self._count, nanosec=0)
        stamp = stamp_ns(message.header)
        self._missing[stamp] = self._answers
        self.sent[stamp] = time.perf_counter()
        self._publisher.publish(message)
        return stamp

    def settle(self) -> None:
        """Wait for the answer to the last frame, at most 2 s."""
        wait_until(lambda: max(self.sent) in self.answered, LOST_S)

    @property
    def latencies(self) -> np.ndarray:
        """Seconds from publication to answer, of the answered frames in order."""
        times = [self.answered[s] - start for s, start in self.sent.items() if s in self.answered]
        if not times:
            raise DgssError(f'None of the frames on {self._topic} was answered.')
        return np.array(times)

    def _take(self, message: Image) -> None:
        stamp = stamp_ns(message.header)
        self._missing[stamp] -= 1
        if not self._missing[stamp]:
            self.answered[stamp] = time.perf_counter()
            del self._missing[stamp]
            self._news.set()


def street(width: int, height: int) -> list[np.ndarray]:
    """Return a frame of the synthetic street per condition, RGB uint8 (height, width, 3)."""
    return [StreetDrive(0, c, width=width, height=height).frame(0).image for c in CONDITIONS]


def play(streams: Sequence[Stream], count: int, rate: float) -> Iterator[int]:
    """Publish `count` frames of each stream at `rate` per second, all streams at once."""
    for index in paced(count, rate):
        for stream in streams:
            stream.check()
            stream.publish()
        yield index
    for stream in streams:
        stream.settle()
        stream.check()


def paced(count: int, rate: float) -> Iterator[int]:
    """Yield 0 to `count` - 1 at `rate` per second, or without a pause if `rate` is 0."""
    start = time.perf_counter()
    for index in range(count):
        if rate:
            time.sleep(max(0.0, start + index / rate - time.perf_counter()))
        yield index
