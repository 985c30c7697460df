"""How the images of a camera are received: by its own reliability, or as its publishers send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from dgss_ros.node.qos import subscribe
from dgss_ros.parameters.table import AUTO
from dgss_ros.parameters.values import reliability_override

LOOK_S = 1.0
"""Between two looks at the publishers."""
PROFILE_REMEDY = 'give the camera driver the transport profile (docs/deploy.md, Transport)'


class Reception:
    """The subscription of one camera between `start` and `stop`.

    With `reliability` `auto` it is reliable while every publisher of the images is, and best
    effort otherwise, which matches every publisher. An override of the topic is stronger.
    `adapts`: whether the subscription follows the publishers so.
    """

    def __init__(
        self, node: Node, kind: type, topic: str, take: Callable[[Any], None], reliability: str
    ) -> None:
        self._node = node
        self._topic = topic
        self._create = lambda reliable: subscribe(node, kind, topic, take, reliable)
        self._override = reliability_override(topic)
        self._is_overridden = self._override in node._parameter_overrides
        self.adapts = reliability == AUTO and not self._is_overridden
        self._subscription: Subscription | None = None
        self._timer: Timer | None = None

    def start(self) -> None:
        # None: the default, which rclpy declares as an override of the topic.
        self._reliable = sends_reliable(self._node, self._topic) if self.adapts else None
        self._subscription = self._create(self._reliable)
        if self.adapts:
            clock = Clock(clock_type=ClockType.STEADY_TIME)
            self._timer = self._node.create_timer(LOOK_S, self._adapt, clock=clock)

    def stop(self) -> None:
        """Destroy what `start` has created, all of it or a part."""
        timer, self._timer = self._timer, None
        if timer is not None:
            self._node.destroy_timer(timer)
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._node.destroy_subscription(subscription)

    @property
    def is_reliable(self) -> bool:
        subscription = self._subscription
        return (
            subscription is not None
            and subscription.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        )

    def loss_remedy(self) -> str:
        """Return what to do about images that are lost on the way."""
        if self.is_reliable:
            return PROFILE_REMEDY
        if self.adapts:
            return f'{PROFILE_REMEDY}, or let every publisher of the images be reliable'
        setting = (
            f'{self._override} to reliable' if self._is_overridden else 'input.reliability to auto'
        )
        if sends_reliable(self._node, self._topic):
            return f'its publisher is reliable: set {setting}, or {PROFILE_REMEDY}'
        return f'{PROFILE_REMEDY}, or let it publish reliable and set {setting}'

    def _adapt(self) -> None:
        reliable = sends_reliable(self._node, self._topic)
        if reliable == self._reliable:
            return
        self._reliable = reliable
        old, self._subscription = self._subscription, self._create(reliable)
        if old is not None:
            self._node.destroy_subscription(old)
        how = 'reliable' if reliable else 'with best effort'
        self._node.get_logger().info(f'Receives {self._topic} {how}, as its publishers send.')


def sends_reliable(node: Node, topic: str) -> bool:
    """Return whether `topic` has publishers, and all of them are reliable."""
    offered = [peer.qos_profile.reliability for peer in node.get_publishers_info_by_topic(topic)]
    return bool(offered) and all(each == ReliabilityPolicy.RELIABLE for each in offered)
