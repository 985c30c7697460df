"""Images are received as reliably as they are sent, over real DDS."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from camera import TIMEOUT_S, Camera, flat
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from dgss_core.errors import DgssError
from dgss_ros.client.session import wait_until
from dgss_ros.parameters.values import reliability_override

pytestmark = pytest.mark.ros
RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
TOPIC = '/dgss/image'


def reception(ros: Node) -> set[ReliabilityPolicy]:
    """How the node subscribes to the images."""
    return {
        peer.qos_profile.reliability
        for peer in ros.get_subscriptions_info_by_topic(TOPIC)
        if peer.node_name == 'dgss'
    }


def camera(ros: Node, reliability: ReliabilityPolicy) -> Camera:
    return Camera(ros, qos=QoSProfile(depth=5, reliability=reliability))


@pytest.mark.parametrize('first', [RELIABLE, BEST_EFFORT])
def test_auto_follows_the_publishers(
    start_node, ros: Node, probe_bundle: Path, first: ReliabilityPolicy
) -> None:
    eye = camera(ros, first)
    start_node('-p', 'input.reliability:=auto', bundle=probe_bundle, autostart=True)
    eye.subscribe('mask')
    eye.connect()
    assert wait_until(lambda: reception(ros) == {first}, TIMEOUT_S)
    eye.answer(flat(1))
    other = camera(ros, BEST_EFFORT)
    assert wait_until(lambda: reception(ros) == {BEST_EFFORT}, TIMEOUT_S)
    assert wait_until(lambda: other.subscribers == eye.subscribers == 1, TIMEOUT_S)
    eye.answer(flat(2))
    other.close()
    assert wait_until(lambda: reception(ros) == {first}, TIMEOUT_S)
    assert wait_until(lambda: eye.subscribers == 1, TIMEOUT_S)
    eye.answer(flat(3))


def test_an_override_is_stronger_than_auto(start_node, ros: Node, probe_bundle: Path) -> None:
    camera(ros, RELIABLE)
    start_node(
        *('-p', 'input.reliability:=auto', '-p', f'{reliability_override(TOPIC)}:=best_effort'),
        bundle=probe_bundle,
        autostart=True,
    )
    assert wait_until(lambda: bool(reception(ros)), TIMEOUT_S)
    # Longer than the node waits between two looks.
    assert not wait_until(lambda: reception(ros) != {BEST_EFFORT}, 1.5)


def test_a_node_whose_subscription_is_refused_stops_and_can_be_configured_again(
    start_node, probe_bundle: Path
) -> None:
    """The node publishes messages of another type on the topic that it should take images from."""
    node = start_node('-r', '~/image:=/diagnostics', bundle=probe_bundle, traceback=True)
    for _ in range(2):
        node.lifecycle.configure()
        with pytest.raises(DgssError):
            node.lifecycle.activate()
        assert wait_until(lambda: node.lifecycle.state == 'unconfigured', TIMEOUT_S)
    assert 'incompatible type' in node.log
    assert 'AttributeError' not in node.log
    assert node.end(signal.SIGINT) == 0
