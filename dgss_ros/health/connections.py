"""Finds peers that do not match the node, other nodes in its place, and images on other topics.

It reads the graph, because the events of the middleware name no peer and do not end with it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from dgss_core.errors import similar

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks  # type: ignore[no-redef]

SHARED = {'diagnostics', 'rosout', 'parameter_events', 'bond'}
"""Last parts of the topics on which every node may publish."""
NO_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)
"""For publishers. By default rclpy logs incompatible peers, which are reported here; each event
adds work to the executor for every image."""
IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
LABELS = {'labels': 'std_msgs/msg/String', 'label_info': 'vision_msgs/msg/LabelInfo'}
"""Types of the topics, by their last parts, on which a segmentation node says its classes."""
MATCHING = {
    'reliability': 'best effort',
    'durability': 'volatile',
    'deadline': 'no deadline',
    'liveliness': 'automatic liveliness without a lease',
}
"""What a reader of our topics may ask for, by the policy."""
UNLIMITED_S = 2**31 - 1
"""Seconds from which a duration has no end; middlewares write the infinite one differently."""
UNKNOWN = '_NODE_NAME_UNKNOWN_'
"""What the middlewares give for a name that they do not know."""
PARTICIPANT = 12
"""Bytes of the id of a publisher that those of one process share (DDSI-RTPS 2.5, 8.2.4.1)."""


def mismatched_peers(node: Node, adapting: Collection[str] = ()) -> Iterator[str]:
    """Yield a sentence with the fix for each publisher or subscription that does not match.

    `adapting`: topics whose subscriptions follow their publishers by themselves.
    """
    for topic in dict.fromkeys(each.topic_name for each in node.subscriptions):
        yield from unheard(node, topic, adapts=topic in adapting)
    for publisher in node.publishers:
        topic, given = publisher.topic_name, _type_name(publisher.msg_type)
        for peer in node.get_subscriptions_info_by_topic(topic):
            if peer.topic_type != given:
                yield (
                    f'{peer_name(peer)} takes {peer.topic_type} on {topic}, but this node '
                    f'publishes {given}: remap one of the two'
                )
            elif missing := _mismatch(publisher.qos_profile, peer.qos_profile):
                ask = ' and '.join(MATCHING[policy] for policy in missing)
                yield (
                    f'{peer_name(peer)} cannot hear {topic} ({" and ".join(missing.values())}): '
                    f'let it ask for {ask}'
                )


def unheard(node: Node, topic: str, *, adapts: bool = False) -> Iterator[str]:
    """Yield a sentence with the fix for each publisher of `topic` that `node` cannot hear.

    `adapts`: the subscription follows its publishers by itself.
    """
    for subscription in node.subscriptions:
        if subscription.topic_name != topic:
            continue
        taken = _type_name(subscription.msg_type)
        for peer in node.get_publishers_info_by_topic(topic):
            if peer.topic_type != taken:
                yield (
                    f'{peer_name(peer)} publishes {peer.topic_type} on {topic}, but this node '
                    f'takes {taken}: set image_transport, or remap'
                )
            elif not adapts and (missing := _mismatch(peer.qos_profile, subscription.qos_profile)):
                reason = ' and '.join(missing.values())
                # Nothing but the reliability of our subscriptions can be set.
                yield (
                    f'{peer_name(peer)} cannot be heard on {topic} ({reason}): set '
                    f'qos_overrides.{topic}.subscription.reliability to best_effort'
                )


def rivals(node: Node) -> Iterator[str]:
    """Yield a sentence for the first topic on which another node publishes as this one does.

    Topics with stamps, such as that of the masks, come first.
    """
    topics = {
        publisher.topic_name: hasattr(publisher.msg_type, 'header')
        for publisher in node.publishers
        if publisher.topic_name.rpartition('/')[2] not in SHARED
    }
    for topic, is_stamped in sorted(topics.items(), key=lambda each: not each[1]):
        names = [peer_name(peer) for peer in node.get_publishers_info_by_topic(topic)]
        if len(names) > 1:
            own = node.get_fully_qualified_name()
            other = next((name for name in names if name != own), own)
            both = 'two messages for one stamp' if is_stamped else 'the messages of both'
            yield (
                f'another {other.removeprefix("a ")} publishes on {topic} too, so that readers '
                f'get {both}: end one of the two, or name it differently (-r __node:=NAME)'
            )
            return


def mixed_images(node: Node, topic: str) -> str:
    """Return which nodes publish images on `topic` together, and what to do; empty for one node.

    Publishers of another type than `node` takes are left out.
    """
    taken = {_type_name(each.msg_type) for each in node.subscriptions if each.topic_name == topic}
    # By the process too, because a driver may be started twice under one name.
    sources = {
        (peer_name(peer), bytes(peer.endpoint_gid[:PARTICIPANT]))
        for peer in node.get_publishers_info_by_topic(topic)
        if peer.topic_type in taken
    }
    if len(sources) < 2:
        return ''
    names = ', '.join(sorted(name for name, _ in sources))
    return (
        f'{len(sources)} nodes publish images on {topic} ({names}), so that their masks mix: '
        'end all but one, or remap the images of each to a topic of its own'
    )


def where_images(node: Node, topic: str, name: str, *, is_compressed: bool) -> str:
    """Return on which topics there are images while nobody publishes `topic`, and what to set.

    `name`: of the image in remappings, such as ~/image. Empty if `topic` has a publisher, or
    there are no other images. The images that a segmentation node publishes are none of these.
    """
    if node.count_publishers(topic):
        return ''
    topics = dict(node.get_topic_names_and_types())
    segmenting = _segmenting(node, topics)
    found = {
        other: kinds
        for other, kinds in topics.items()
        if {IMAGE, COMPRESSED} & set(kinds) and not _publishers(node, other) <= segmenting
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


def _mismatch(offered: QoSProfile, asked: QoSProfile) -> dict[str, str]:
    """Return what is asked for but not offered, by the policy; empty if the two match.

    The check of rclpy treats the infinite durations that the graph reports as finite.
    """
    missing = {}
    if (offered.reliability, asked.reliability) == (
        ReliabilityPolicy.BEST_EFFORT,
        ReliabilityPolicy.RELIABLE,
    ):
        missing['reliability'] = 'it is best effort, not reliable'
    if (offered.durability, asked.durability) == (
        DurabilityPolicy.VOLATILE,
        DurabilityPolicy.TRANSIENT_LOCAL,
    ):
        missing['durability'] = 'it is volatile, not transient local'
    if (limit_s := _seconds(asked.deadline)) < _seconds(offered.deadline):
        missing['deadline'] = f'it promises no deadline of {limit_s:g} s'
    lease_s = _seconds(asked.liveliness_lease_duration)
    by_topic = LivelinessPolicy.MANUAL_BY_TOPIC
    if asked.liveliness == by_topic != offered.liveliness:
        missing['liveliness'] = 'its liveliness is automatic, not manual by topic'
    elif lease_s < _seconds(offered.liveliness_lease_duration):
        missing['liveliness'] = f'it promises no lease of {lease_s:g} s'
    return missing


def _seconds(duration: Duration) -> float:
    """Return the length of a duration; math.inf for one without end, and for 0, the default."""
    seconds = duration.nanoseconds / 1e9
    return seconds if 0 < seconds < UNLIMITED_S else math.inf


def _segmenting(node: Node, topics: Mapping[str, Collection[str]]) -> set[str]:
    """Return the names of the nodes that publish the classes of their masks."""
    return {
        name
        for topic, kinds in topics.items()
        if LABELS.get(topic.rpartition('/')[2]) in kinds
        for name in _publishers(node, topic)
    }


def _publishers(node: Node, topic: str) -> set[str]:
    return {peer_name(peer) for peer in node.get_publishers_info_by_topic(topic)}


def peer_name(peer: TopicEndpointInfo) -> str:
    """The full name of the node of a publisher or subscription.

    Its process tells it a moment later than its topics, and a program without ROS never.
    """
    if peer.node_name == UNKNOWN:
        return 'a node without a name'
    return f'{peer.node_namespace.rstrip("/")}/{peer.node_name}'


def _type_name(message_type: Any) -> str:
    package, kind, *_ = message_type.__module__.split('.')
    return f'{package}/{kind}/{message_type.__name__}'
