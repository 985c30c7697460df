from __future__ import annotations

import json
from array import array

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dgss_core.bags.stored import raw_stamp_ns
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_ros.node.messages import stamp_ns, to_image, to_labels, to_mask, to_picture

pytestmark = pytest.mark.ros
HEADER = Header(stamp=Time(sec=1_700_000_000, nanosec=4_294_967), frame_id='camera')


def test_an_image_survives_conversion_to_a_message_and_back() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    message = to_image(HEADER, image, 'rgb8')
    assert (message.header, message.height, message.width, message.step) == (HEADER, 5, 7, 21)
    assert type(message.data) is array
    assert np.array_equal(to_picture(message).rgb, image)
    reversed_image = np.ascontiguousarray(image[..., ::-1])
    assert np.array_equal(to_picture(to_image(HEADER, image, 'bgr8')).rgb, reversed_image)


def test_a_part_of_an_image_can_be_sent() -> None:
    image = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6)
    message = to_image(HEADER, image[1:3, 2:5], 'mono8')
    assert np.array_equal(to_mask(message), [[8, 9, 10], [14, 15, 16]])


def test_padded_rows_are_cut_off() -> None:
    padded = np.arange(12, dtype=np.uint8).reshape(2, 6)
    message = Image(height=2, width=4, step=6, encoding='mono8', data=padded.tobytes())
    assert np.array_equal(to_mask(message), padded[:, :4])
    assert np.array_equal(to_picture(message).rgb[..., 1], padded[:, :4])


def test_an_unusable_message_raises_with_the_reason() -> None:
    message = to_image(HEADER, np.zeros((4, 6), np.uint8), 'mono8')
    message.encoding = 'infrared12'
    with pytest.raises(DgssError, match='infrared12'):
        to_picture(message)


def test_building_a_message_does_not_convert_byte_by_byte() -> None:
    """The slow path of rclpy looks at every byte of an image, the fast one at none."""
    import time

    image = np.zeros((720, 1280, 3), np.uint8)
    built, read = [], []
    for _ in range(5):
        start = time.perf_counter()
        to_image(HEADER, image, 'rgb8')
        built.append(time.perf_counter() - start)
        start = time.perf_counter()
        sum(image.tobytes())
        read.append(time.perf_counter() - start)
    assert min(built) < min(read) / 3


@pytest.mark.ros_apt
@pytest.mark.parametrize(
    ('encoding', 'channels', 'depth'),
    [
        *((name, 3, 1) for name in ('rgb8', 'bgr8')),
        *((name, 4, 1) for name in ('rgba8', 'bgra8')),
        *((f'bayer_{pattern}8', 1, 1) for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')),
        *((name, 2, 1) for name in ('yuv422', 'yuv422_yuy2')),
        ('mono8', 1, 1),
        ('mono16', 1, 2),
    ],
)
def test_encodings_that_cv_bridge_supports_give_equal_pixels(
    encoding: str, channels: int, depth: int
) -> None:
    bridge = pytest.importorskip('cv_bridge').CvBridge()
    row = 16 * channels * depth
    data = np.random.default_rng(3).integers(0, 256, 12 * row, np.uint8)
    message = Image(height=12, width=16, step=row, encoding=encoding, data=data.tobytes())
    expected = bridge.imgmsg_to_cv2(message, 'rgb8')
    assert np.abs(to_picture(message).rgb.astype(int) - expected).max() <= 1


@pytest.mark.parametrize('nanosec', [0, 1, 999_999_999])
def test_the_stamp_is_read_without_deserializing(nanosec: int) -> None:
    header = Header(stamp=Time(sec=1_700_000_123, nanosec=nanosec), frame_id='x')
    raw = serialize_message(Image(header=header))
    assert raw_stamp_ns(raw) == stamp_ns(header) == 1_700_000_123_000_000_000 + nanosec


def test_labels_can_be_parsed_again() -> None:
    labels = LabelSet.load('cityscapes19')
    data = json.loads(to_labels(labels).data)
    assert LabelSet.from_dict(data) == labels
    assert data['labels'][13] == {'id': 13, 'name': 'car', 'color': [0, 0, 142]}
