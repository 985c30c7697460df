"""The outputs of the node, over real DDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from camera import TIMEOUT_S, flat
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32, Header, String

from dgss_core.images.paint import colorize, overlay
from dgss_core.labels import LabelSet
from dgss_core.runtime.segmenter import Prediction
from dgss_ros.client.session import wait_until
from dgss_ros.node.messages import to_labels, to_mask, to_picture
from dgss_ros.node.outputs import Canvas, LabelOutputs, Outputs
from dgss_ros.node.qos import LATCHED_QOS

pytestmark = pytest.mark.ros

LABELS = LabelSet.load('cityscapes19')
PICTURES = ['overlay', 'overlay/compressed', 'color_mask', 'color_mask/compressed']


@pytest.fixture
def painter(ros: Node) -> Iterator[LifecycleNode]:
    """An active node, because lifecycle publishers publish only then."""
    node = LifecycleNode('painter', context=ros.context)
    node.trigger_configure()
    yield node
    node.destroy_node()
    # The services of the state machine keep the node, and with it the participant of the test.
    node._state_machine = None


Make = Callable[..., Outputs]


@pytest.fixture
def make(painter: LifecycleNode) -> Make:
    def make(prefix: str = '~/', uncertainty: bool = False) -> Outputs:
        outputs = Outputs(painter, prefix, uncertainty)
        painter.trigger_activate()
        return outputs

    return make


@pytest.fixture
def listen(ros: Node, painter: LifecycleNode) -> Callable[[type, str], list]:
    """Subscribe to a topic of the painter, and wait until it has discovered the subscription."""

    def listen(kind: type, name: str) -> list[Any]:
        messages: list[Any] = []
        ros.create_subscription(kind, f'/painter/{name}', messages.append, QoSProfile(depth=5))
        publisher = next(p for p in painter.publishers if p.topic_name == f'/painter/{name}')
        assert wait_until(lambda: publisher.get_subscription_count() == 1, TIMEOUT_S)
        return messages

    return listen


@pytest.fixture
def frame() -> tuple[Header, np.ndarray, Prediction]:
    rng = np.random.default_rng(0)
    header = Header(frame_id='camera_optical')
    header.stamp.sec, header.stamp.nanosec = 1_700_000_000, 123_456_789
    image = np.repeat(np.repeat(rng.integers(0, 256, (6, 8, 3)), 8, 0), 8, 1).astype(np.uint8)
    mask = np.repeat(np.repeat(rng.integers(0, 19, (6, 8)), 8, 0), 8, 1).astype(np.uint8)
    mask[:8] = 255
    confidence, uncertainty = rng.integers(0, 256, (2, 48, 64)).astype(np.uint8)
    return header, image, Prediction(mask, confidence, uncertainty)


def over(image: np.ndarray) -> Canvas:
    """Return a canvas of the size of the image, for planes of the same size."""
    size = (image.shape[1], image.shape[0])
    return Canvas(size, lambda: image, lambda plane, outside, out: np.copyto(out, plane))


def newest(messages: list) -> Any:
    assert wait_until(lambda: bool(messages), TIMEOUT_S)
    return messages[-1]


def test_every_output_has_the_header_of_its_image(make: Make, listen, frame) -> None:
    header, image, prediction = frame
    outputs = make(uncertainty=True)
    planes = {name: listen(Image, name) for name in ('mask', 'confidence', 'uncertainty')}
    pictures = {name: listen(CompressedImage if '/' in name else Image, name) for name in PICTURES}
    outputs.publish(header, over(image), prediction, LABELS, 0.25)
    for name, messages in planes.items():
        message = newest(messages)
        assert (message.header, message.encoding) == (header, 'mono8')
        np.testing.assert_array_equal(to_mask(message), getattr(prediction, name))
    expected = {
        'overlay': overlay(image, prediction.mask, LABELS, 0.25),
        'color_mask': colorize(prediction.mask, LABELS),
    }
    for name, messages in pictures.items():
        message = newest(messages)
        assert message.header == header
        picture, kind = to_picture(message).rgb, name.split('/')[0]
        if name == 'overlay/compressed':
            assert message.format == 'rgb8; jpeg compressed bgr8'
            difference = np.abs(picture.astype(float) - expected[kind]).mean()
            assert 0 < difference < 12
        else:
            np.testing.assert_array_equal(picture, expected[kind])
    assert pictures['color_mask/compressed'][0].format == 'rgb8; png compressed bgr8'


@pytest.mark.parametrize('name', ['mask', 'confidence', 'uncertainty', *PICTURES])
def test_an_output_without_subscribers_is_not_computed(make: Make, listen, name: str) -> None:
    """Without a prediction, publishing fails only once there is a subscriber."""
    outputs = make(uncertainty=True)
    outputs.publish(Header(), over(flat(1)), None, LABELS, 0.5)
    listen(CompressedImage if '/' in name else Image, name)
    with pytest.raises(AttributeError, match='NoneType'):
        outputs.publish(Header(), over(flat(1)), None, LABELS, 0.5)


def test_uncertainty_is_published_if_requested_and_available(
    make: Make, painter: LifecycleNode, listen, frame, ros: Node
) -> None:
    header, image, prediction = frame
    outputs = make(uncertainty=True)
    masks, uncertainties = listen(Image, 'mask'), listen(Image, 'uncertainty')
    without = Prediction(prediction.mask, prediction.confidence)
    outputs.publish(header, over(image), without, LABELS, 0.5)
    newest(masks)
    assert not uncertainties
    outputs.destroy()
    Outputs(painter, '~/front/')
    assert wait_until(lambda: ros.count_publishers('/painter/front/mask') == 1, TIMEOUT_S)
    assert ros.count_publishers('/painter/front/uncertainty') == 0
    assert ros.count_publishers('/painter/uncertainty') == 0


def test_the_domain_shift_is_a_number_per_camera(make: Make, listen) -> None:
    outputs = make('~/front/')
    messages = listen(Float32, 'front/domain_shift')
    outputs.publish_domain_shift(1.75)
    assert newest(messages).data == 1.75


def test_labels_wait_for_late_subscribers(painter: LifecycleNode, ros: Node) -> None:
    LabelOutputs(painter).publish(LABELS)
    messages: list[String] = []
    ros.create_subscription(String, '/painter/labels', messages.append, LATCHED_QOS)
    assert newest(messages) == to_labels(LABELS)
