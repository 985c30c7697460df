"""Images are received as reliably as they are sent, over real DDS."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import rclpy
from camera import TIMEOUT_S, Camera, flat
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String

from dgss_core.errors import DgssError
from dgss_ros.client.session import ros_session, wait_until
from dgss_ros.health.connections import mismatched_peers
from dgss_ros.node.reception import PROFILE_REMEDY, Reception
from dgss_ros.parameters.values import reliability_override

pytestmark = pytest.mark.ros
RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
TOPIC = '/dgss/image'
EYE = '/eye/image'
NUMBERS = itertools.count()


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
    node = start_node('-p', 'input.reliability:=auto', bundle=probe_bundle, autostart=True)
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
    assert 'cannot be heard' not in node.log


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


@pytest.fixture
def eye() -> str:
    """The topic of this test: publishers of the one before may still be known for a while."""
    return EYE.replace('eye', f'eye{next(NUMBERS)}')


@pytest.fixture
def receive(ros: Node, eye: str) -> Iterator[Callable[..., tuple[Node, Reception]]]:
    """Start a reception of `eye` in a node that nobody spins, so that it stays as it is."""
    with ExitStack() as ends:

        def start(reliability: str, override: str = '') -> tuple[Node, Reception]:
            given = [Parameter(reliability_override(eye), value=override)] if override else []
            node = rclpy.create_node('receiver', context=ros.context, parameter_overrides=given)
            ends.callback(node.destroy_node)
            known = ros.count_publishers(eye)
            assert wait_until(lambda: node.count_publishers(eye) == known, TIMEOUT_S)
            taken = Reception(node, Image, eye, lambda _: None, reliability)
            ends.callback(taken.stop)
            taken.start()
            return node, taken

        yield start


def test_a_reception_that_is_about_to_adapt_is_no_mismatch(ros: Node, receive, eye: str) -> None:
    ros.create_publisher(Image, eye, QoSProfile(depth=1, reliability=RELIABLE))
    node, taken = receive('auto')
    assert taken.adapts
    assert taken.is_reliable
    ros.create_publisher(Image, eye, QoSProfile(depth=1, reliability=BEST_EFFORT))
    assert wait_until(lambda: node.count_publishers(eye) == 2, TIMEOUT_S)
    assert list(mismatched_peers(node, {eye})) == []
    (sentence,) = mismatched_peers(node)
    assert f'cannot be heard on {eye}' in sentence


def test_a_subscription_of_another_type_is_a_mismatch(ros: Node, receive) -> None:
    expected = (
        '/viewer takes sensor_msgs/msg/Image on /eye/labels, but this node publishes '
        'std_msgs/msg/String: remap one of the two'
    )
    node, _ = receive('best_effort')
    node.create_publisher(String, '/eye/labels', 1)
    ros.create_subscription(String, '/eye/labels', lambda _: None, 1)
    # A process, that is, a context, cannot have two types on one topic.
    with ros_session('viewer') as viewer:
        viewer.create_subscription(Image, '/eye/labels', lambda _: None, 1)
        assert wait_until(lambda: node.count_subscribers('/eye/labels') == 2, TIMEOUT_S)
        # Its name is discovered later than its subscription.
        assert wait_until(lambda: [*mismatched_peers(node)] == [expected], TIMEOUT_S)


AUTO_REMEDY = 'set input.reliability to auto'
OVERRIDE_REMEDY = 'set qos_overrides./eye/image.subscription.reliability to reliable'


@pytest.mark.parametrize(
    ('sent', 'reliability', 'override', 'remedy'),
    [
        (
            RELIABLE,
            'best_effort',
            '',
            f'its publisher is reliable: {AUTO_REMEDY}, or {PROFILE_REMEDY}',
        ),
        (
            BEST_EFFORT,
            'best_effort',
            '',
            f'{PROFILE_REMEDY}, or let it publish reliable and {AUTO_REMEDY}',
        ),
        (RELIABLE, 'auto', '', PROFILE_REMEDY),
        (
            BEST_EFFORT,
            'auto',
            '',
            f'{PROFILE_REMEDY}, or let every publisher of the images be reliable',
        ),
        (
            RELIABLE,
            'auto',
            'best_effort',
            f'its publisher is reliable: {OVERRIDE_REMEDY}, or {PROFILE_REMEDY}',
        ),
        (
            BEST_EFFORT,
            'best_effort',
            'best_effort',
            f'{PROFILE_REMEDY}, or let it publish reliable and {OVERRIDE_REMEDY}',
        ),
        (RELIABLE, 'best_effort', 'reliable', PROFILE_REMEDY),
    ],
)
def test_the_remedy_for_losses_is_one_that_has_an_effect(
    ros: Node,
    receive,
    eye: str,
    sent: ReliabilityPolicy,
    reliability: str,
    override: str,
    remedy: str,
) -> None:
    ros.create_publisher(Image, eye, QoSProfile(depth=1, reliability=sent))
    _, taken = receive(reliability, override)
    assert taken.loss_remedy() == remedy.replace(EYE, eye)


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
