"""What a replay asks of the node and of the network: parameters, other publishers, and silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible

from dgss_core.errors import DgssError
from dgss_core.evaluation.live import Coverage
from dgss_ros.client.session import call
from dgss_ros.health.connections import peer_name
from dgss_ros.node.naming import COMPRESSED, CameraTopics, name_of

FIND_S, ANSWER_S = 2.0, 10.0
"""Longest waits for the parameters of a node: until there is the service, and for its answer."""


def coverage_of(
    ros: Node, camera: CameraTopics, check: Callable[[], None] = lambda: None
) -> Coverage | None:
    """What the masks of a camera cover; None for a node without these parameters.

    Raises DgssError if the node does not answer. `check` raises when it is futile to wait.
    """
    client = ros.create_client(GetParameters, f'{camera.node}/get_parameters')

    def value(name: str) -> Any:
        request = GetParameters.Request(names=[name])
        try:
            values = call(client, request, FIND_S, check, ANSWER_S / 2).values
        except DgssError:
            # The node drops an answer whose reader it does not know yet.
            values = call(client, request, FIND_S, check, ANSWER_S / 2).values
        return values[0] if values else None

    try:
        size, region = value('output.size'), value('input.roi')
        name = name_of(camera)
        own = value(f'{name}.roi') if name else None
    finally:
        ros.destroy_client(client)
    if size is None or region is None:
        return None
    roi = [*region.integer_array_value]
    if own is not None and len(own.integer_array_value):
        roi = [*own.integer_array_value]
    x, y, width, height = map(int, roi or (0, 0, 0, 0))
    return Coverage(
        (x, y, width, height) if width and height else None, size.string_value == 'network'
    )


def others(ros: Node, topic: str) -> list[str]:
    """The full names of the nodes that publish `topic`, without one publisher of `ros` itself."""
    names = [peer_name(info) for info in ros.get_publishers_info_by_topic(topic)]
    own = _full(ros.get_namespace(), ros.get_name())
    if own in names:
        names.remove(own)
    return sorted({*names})


def why_silent(ros: Node, topic: str, camera: CameraTopics, state: str) -> str:
    """Why a node answers no image on `topic`, and what to do; the first that is seen.

    `state`: of the lifecycle of the node; empty if it tells none.
    """
    known = {_full(space, name) for name, space in ros.get_node_names_and_namespaces()}
    if not state and camera.node not in known:
        return (
            f'no node {camera.node} answers; start it, or give --node, and check that both sides '
            'have the same ROS_DOMAIN_ID'
        )
    if state not in ('', 'active'):
        return f'make {camera.node} active'
    mask = f'{camera.outputs}/mask'
    if not ros.count_publishers(mask):
        return f'nobody publishes {mask}; do not remap it, or give the --node that publishes it'
    takers = ros.get_subscriptions_info_by_topic(topic)
    if not takers:
        other, transport = _other_transport(topic)
        if camera.node in map(peer_name, ros.get_subscriptions_info_by_topic(other)):
            return (
                f'{camera.node} takes {other}; give it as --image, if the bag has it, or start '
                f'the node with image_transport:={transport}'
            )
        prefix = '/'.join(filter(None, ['~', name_of(camera), 'image']))
        return f'nobody takes images from {topic}; remap {prefix} of {camera.node} to it'
    (sender, *_) = (
        info.qos_profile
        for info in ros.get_publishers_info_by_topic(topic)
        if peer_name(info) == _full(ros.get_namespace(), ros.get_name())
    )
    found = [qos_check_compatible(sender, taker.qos_profile) for taker in takers]
    if all(fits == QoSCompatibility.ERROR for fits, _ in found):
        reasons = '; '.join(sorted({reason.strip(' ;') for _, reason in found}))
        return f'the quality of service on {topic} does not match ({reasons}); change it there'
    return f'see the log of {camera.node}, and /diagnostics'


def _other_transport(topic: str) -> tuple[str, str]:
    """The topic beside `topic` with the other type of image, and the transport of `topic`."""
    if topic.endswith(COMPRESSED):
        return topic.removesuffix(COMPRESSED), 'compressed'
    return topic + COMPRESSED, 'raw'


def _full(namespace: str, name: str) -> str:
    return f'{namespace.rstrip("/")}/{name}'
