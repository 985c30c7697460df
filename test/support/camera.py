"""Test clients of the node: a camera that keeps the answers, and a reader of diagnostics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dgss_ros.client.session import wait_until
from dgss_ros.node.messages import to_image

TIMEOUT_S = 60.0


class Camera:
    """Publishes images to the node, and keeps its answers by the name of the topic."""

    def __init__(
        self,
        ros: Node,
        topic: str = '/dgss/image',
        node: str = '/dgss',
        qos: QoSProfile | None = None,
    ) -> None:
        self._ros = ros
        self._node = node
        self._publisher = ros.create_publisher(Image, topic, qos or QoSProfile(depth=10))
        self._count = 0
        self.received: dict[str, list[Image]] = {}

    def subscribe(self, *names: str) -> None:
        for name in names:
            messages = self.received.setdefault(name, [])
            topic = f'{self._node}/{name}'
            self._ros.create_subscription(Image, topic, messages.append, QoSProfile(depth=50))

    def connect(self, image: np.ndarray | None = None) -> None:
        """Wait until the node has subscribed and answers on every subscribed topic.

        `image`: an image that the node can answer, for tests in which a 64x48 one is refused.
        """
        assert wait_until(lambda: self.subscribers == 1, TIMEOUT_S)
        for name in self.received:
            topic = f'{self._node}/{name}'
            assert wait_until(lambda t=topic: self._ros.count_publishers(t) == 1, TIMEOUT_S)
        # The node discovers our subscription later than we do; until then it publishes nothing.
        sent: list[Header] = []
        for _ in range(20):
            sent.append(self.send(flat(0) if image is None else image).header)
            if wait_until(lambda: self._answered(*sent), 0.5):
                break
        else:
            raise AssertionError(f'no answer on {[n for n, m in self.received.items() if not m]}')
        # No late answer may be taken for one to a later image.
        wait_until(lambda: self._answered(sent[-1]), 0.5)

    @property
    def subscribers(self) -> int:
        return self._publisher.get_subscription_count()

    def _answered(self, *headers: Header) -> bool:
        """Whether every topic has an answer to one of the images with these headers."""
        return all(
            any(message.header in headers for message in messages[-20:])
            for messages in self.received.values()
        )

    def close(self) -> None:
        self._ros.destroy_publisher(self._publisher)

    def header(self) -> Header:
        self._count += 1
        sec, nanosec = divmod(1_700_000_000_087_654_321 + self._count * 100_000_000, 10**9)
        return Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=f'camera_{self._count}')

    def publish(self, message: Image) -> None:
        self._publisher.publish(message)

    def send(self, image: np.ndarray, encoding: str = 'rgb8') -> Image:
        message = to_image(self.header(), image, encoding)
        self.publish(message)
        return message

    def answer(self, image: np.ndarray, encoding: str = 'rgb8') -> dict[str, Image]:
        """Send one image; wait for a message with its header on every topic."""
        header = self.send(image, encoding).header

        def answers() -> dict[str, Image]:
            return {
                name: message
                for name, messages in self.received.items()
                for message in messages[-3:]
                if message.header == header
            }

        assert wait_until(lambda: answers().keys() == self.received.keys(), TIMEOUT_S), (
            f'only {list(answers())} of {list(self.received)} answered'
        )
        return answers()


class DiagnosticsReader:
    """Keeps the newest status of each task of the node."""

    def __init__(self, ros: Node) -> None:
        self.status: dict[str, DiagnosticStatus] = {}
        ros.create_subscription(DiagnosticArray, '/diagnostics', self._keep, 10)

    def values(self, task: str) -> dict[str, str]:
        status = self.status.get(f'dgss: {task}')
        return {pair.key: pair.value for pair in status.values} if status else {}

    def wait(self, task: str, condition: Callable[[DiagnosticStatus, dict], bool]) -> dict:
        """Wait until `condition(status, values)` holds for a task; returns its values."""
        name = f'dgss: {task}'
        held = wait_until(
            lambda: name in self.status and condition(self.status[name], self.values(task)),
            TIMEOUT_S,
        )
        assert held, self.status.get(name)
        return self.values(task)

    def _keep(self, message: DiagnosticArray) -> None:
        self.status |= {status.name: status for status in message.status}


def flat(red: int, green: int = 0, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Return an image of one colour, whose probe mask is known. `size`: (width, height)."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[..., 0], image[..., 1] = red, green
    return image
