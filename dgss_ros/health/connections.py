"""Finds peers that do not match the node, other nodes in its place, and images on other topics.

It reads the graph, because the events of the middleware name no peer and do not end with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from dgss_core.errors import similar

SHARED = {'diagnostics', 'rosout', 'parameter_events', 'bond'}
"""Last parts of the topics on which every node may publish."""
NO_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)
"""For publishers. By default rclpy logs incompatible peers, which are reported here; each event
adds work to the executor for every image."""
IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'


def mismatched_peers(node: Node, adapting: Collection[str] = ()) -> Iterator[str]:
    """Yield a sentence with the fix for each publisher or subscription that does not match.

    `adapting`: topics whose subscriptions follow their publishers by themselves.
    """
    for subscription in node.subscriptions:
        topic, taken = subscription.topic_name, _type_name(subscription.msg_type)
        for peer in node.get_publishers_info_by_topic(topic):
            if peer.topic_type != taken:
                yield (
                    f'{_name(peer)} publishes {peer.topic_type} on {topic}, but this node takes '
                    f'{taken}: set image_transport, or remap'
                )
            elif topic not in adapting and (
                reason := _mismatch(peer.qos_profile, subscription.qos_profile)
            ):
                yield (
                    f'{_name(peer)} cannot be heard on {topic} ({reason}): set '
                    f'qos_overrides.{topic}.subscription.reliability to best_effort'
                )
    for publisher in node.publishers:
        topic, given = publisher.topic_name, _type_name(publisher.msg_type)
        for peer in node.get_subscriptions_info_by_topic(topic):
            if peer.topic_type != given:
                yield (
                    f'{_name(peer)} takes {peer.topic_type} on {topic}, but this node publishes '
                    f'{given}: remap one of the two'
                )
            elif reason := _mismatch(publisher.qos_profile, peer.qos_profile):
                yield (
                    f'{_name(peer)} cannot hear {topic} ({reason}): let it ask for best effort '
                    'and volatile'
                )


def rivals(node: Node) -> Iterator[str]:
    """Yield a sentence for the first topic on which another node publishes as this one does."""
    for publisher in reversed(list(node.publishers)):
        topic = publisher.topic_name
        if topic.rpartition('/')[2] in SHARED:
            continue
        names = [_name(peer) for peer in node.get_publishers_info_by_topic(topic)]
        if len(names) > 1:
            own = node.get_fully_qualified_name()
            other = next((name for name in names if name != own), own)
            yield (
                f'another {other} publishes on {topic} too, so that readers get two messages for '
                'one stamp: end one of the two, or name it differently (-r __node:=NAME)'
            )
            return


def where_images(node: Node, topic: str, name: str, *, is_compressed: bool) -> str:
    """Return on which topics there are images while nobody publishes `topic`, and what to set.

    `name`: of the image in remappings, such as ~/image. Empty if `topic` has a publisher, or
    there are no other images.
    """
    if node.count_publishers(topic):
        return ''
    own = node.get_fully_qualified_name()
    found = {
        other: kinds
        for other, kinds in node.get_topic_names_and_types()
        if {IMAGE, COMPRESSED} & set(kinds)
        and not other.startswith(f'{own}/')
        and node.count_publishers(other)
    }
    base = topic.removesuffix('/compressed') if is_compressed else topic
    if is_compressed and COMPRESSED in found.get(base, ()) and base.endswith('/compressed'):
        there, fix = base, f'remap {name} to {base.removesuffix("/compressed")}'
    elif is_compressed and IMAGE in found.get(base, ()):
        there, fix = base, 'set image_transport to raw'
    elif not is_compressed and COMPRESSED in found.get(f'{topic}/compressed', ()):
        there, fix = f'{topic}/compressed', 'set image_transport to compressed'
    elif found:
        there = ', '.join(similar(topic, found)[:3])
        fix = (
            f'remap {name}; image_transport adds /compressed' if is_compressed else f'remap {name}'
        )
    else:
        return ''
    return f'Nobody publishes {topic}, but there is {there}: {fix}'


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
