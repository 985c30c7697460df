"""Finds publishers and subscriptions whose type or quality of service does not match the node's.

It reads the graph, because the events of the middleware name no peer and do not end with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo


def mismatched_peers(node: Node) -> Iterator[str]:
    """Yield a sentence with the fix for each publisher or subscription that does not match."""
    for subscription in node.subscriptions:
        topic, taken = subscription.topic_name, _type_name(subscription.msg_type)
        for peer in node.get_publishers_info_by_topic(topic):
            if peer.topic_type != taken:
                yield (
                    f'{_name(peer)} publishes {peer.topic_type} on {topic}, but this node takes '
                    f'{taken}: set image_transport, or remap'
                )
            elif reason := _mismatch(peer.qos_profile, subscription.qos_profile):
                yield (
                    f'{_name(peer)} cannot be heard on {topic} ({reason}): set '
                    f'qos_overrides.{topic}.subscription.reliability to best_effort'
                )
    for publisher in node.publishers:
        topic = publisher.topic_name
        for peer in node.get_subscriptions_info_by_topic(topic):
            if reason := _mismatch(publisher.qos_profile, peer.qos_profile):
                yield (
                    f'{_name(peer)} cannot hear {topic} ({reason}): let it ask for best effort '
                    'and volatile'
                )


def _mismatch(offered: QoSProfile, asked: QoSProfile) -> str:
    """Return what is requested but not offered; empty if the two match.

    Reliability and durability only: the check of rclpy treats the infinite deadlines that the
    graph reports as finite.
    """
    missing = []
    if (offered.reliability, asked.reliability) == (
        ReliabilityPolicy.BEST_EFFORT,
        ReliabilityPolicy.RELIABLE,
    ):
        missing.append('it is best effort, not reliable')
    if (offered.durability, asked.durability) == (
        DurabilityPolicy.VOLATILE,
        DurabilityPolicy.TRANSIENT_LOCAL,
    ):
        missing.append('it is volatile, not transient local')
    return ' and '.join(missing)


def _name(peer: TopicEndpointInfo) -> str:
    return f'{peer.node_namespace.rstrip("/")}/{peer.node_name}'


def _type_name(message_type: Any) -> str:
    package, kind, *_ = message_type.__module__.split('.')
    return f'{package}/{kind}/{message_type.__name__}'
