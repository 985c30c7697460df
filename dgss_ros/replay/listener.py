"""Receives images as their publishers send them: reliably, or with best effort."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from rclpy._rclpy_pybind11 import InvalidHandle, RCLError
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image

from dgss_ros.node.reception import sends_reliable

LOOK_S = 0.2
"""Between two looks at the publishers."""
DEPTH = 50


class Listener:
    """A subscription to serialized images on `topic`, made anew when a publisher changes.

    It is reliable unless a publisher sends with best effort, which a reliable one never hears.
    `take` gets each message. `begun` is called before the first subscription and each new one,
    which another process discovers later. Both are called on the executor of `ros`.
    """

    def __init__(
        self,
        ros: Node,
        topic: str,
        take: Callable[[bytes], None],
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        self._ros, self._topic = ros, topic
        self._take, self._begun = take, begun
        self._is_reliable = self._wanted()
        self._subscription = self._subscribe()
        ros.create_timer(LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _wanted(self) -> bool:
        return not self._ros.count_publishers(self._topic) or sends_reliable(
            self._ros, self._topic
        )

    def _subscribe(self) -> Subscription:
        self._begun()
        policy = ReliabilityPolicy.RELIABLE if self._is_reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=DEPTH, reliability=policy)
        return self._ros.create_subscription(
            Image,
            self._topic,
            self._take,
            qos,
            # A policy that does not match is followed, and needs no warning.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            raw=True,
        )

    def _look(self) -> None:
        with suppress(InvalidHandle, RCLError):  # the end of the session
            wanted = self._wanted()
            if wanted != self._is_reliable:
                self._is_reliable = wanted
                old, self._subscription = self._subscription, self._subscribe()
                self._ros.destroy_subscription(old)
