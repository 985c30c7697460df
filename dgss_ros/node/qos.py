"""Quality of service of the subscriptions, and the check of its overrides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from dgss_core.errors import DgssError

OVERRIDES = 'qos_overrides.'
CHOICES = {
    'reliability': [
        policy.name.lower() for policy in ReliabilityPolicy if policy.name != 'UNKNOWN'
    ],
    'history': [policy.name.lower() for policy in HistoryPolicy if policy.name != 'UNKNOWN'],
}
DEEPEST = 2**31 - 1
"""The largest depth that the middleware takes."""


LATCHED_QOS = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""The last message waits for late subscribers."""


def subscribe(
    node: Node,
    kind: type,
    topic: str,
    take: Callable[[Any], None],
    reliable: bool | None = None,
) -> Subscription:
    """Subscribe with depth 1 and best effort, unless `qos_overrides.TOPIC.subscription` is set.

    `reliable`: given, it is stronger than an override.
    """
    kinds = [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH]
    if reliable is None:
        kinds.append(QoSPolicyKind.RELIABILITY)
    policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    return node.create_subscription(
        kind,
        topic,
        take,
        # Best effort matches every camera; depth 1 keeps old frames from queueing up.
        QoSProfile(depth=1, reliability=policy),
        qos_overriding_options=QoSOverridingOptions(kinds),
    )


POLICIES = (*CHOICES, 'depth')


def unused_overrides(node: Node, images: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each topic in `qos_overrides` that the node does not have.

    `images`: the topics that the images come from. Call it when every topic exists.
    """
    # rclpy declares a parameter for each policy of each topic that it creates.
    names = [
        name
        for name in node._parameter_overrides
        if name.startswith(OVERRIDES) and not node.has_parameter(name)
    ]
    for topic in dict.fromkeys(name.removeprefix(OVERRIDES).split('.')[0] for name in names):
        yield (
            f'qos_overrides.{topic} has no effect: there is no such topic here, or its quality of '
            f'service is fixed; images come from {", ".join(images)}.'
        )


def check_overrides(node: Node) -> None:
    """Raise DgssError for an invalid policy or value in `qos_overrides`.

    rclpy checks the values only when it creates the topic, and its error does not name the value.
    It ignores a policy that it does not know.
    """
    for name, parameter in node._parameter_overrides.items():
        if not name.startswith(OVERRIDES):
            continue
        policy, value = name.rpartition('.')[2], parameter.value
        if policy not in POLICIES:
            raise DgssError(f'{name} is no policy; use one of {", ".join(POLICIES)}.')
        choices = CHOICES.get(policy)
        if choices and value not in choices:
            raise DgssError(f'{name} must be one of {", ".join(choices)}, not {value!r}.')
        if policy == 'depth' and not (type(value) is int and 0 < value <= DEEPEST):
            raise DgssError(
                f'{name} must be a number of messages from 1 to {DEEPEST}, not {value!r}.'
            )
