"""The image that a replay sends until the node answers."""

from __future__ import annotations

import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from dgss_core.bags import Bag
from dgss_core.bags.reader import decode_message
from dgss_core.errors import DgssError
from dgss_core.images.compressed import encode_jpeg
from dgss_ros.node.messages import to_image
from dgss_ros.node.naming import COMPRESSED


def greeting(bag: Bag, topic: str) -> bytes:
    """A serialized grey image in the size of the first in the bag, which the node can crop."""
    grey = np.full((*_first_size(bag, topic), 3), 128, np.uint8)
    image: Image | CompressedImage = to_image(Header(), grey, 'rgb8')
    if topic.endswith(COMPRESSED):
        image = CompressedImage(format='jpeg', data=encode_jpeg(grey))
    return serialize_message(image)


def _first_size(bag: Bag, topic: str) -> tuple[int, int]:
    """Height and width of the first image that can be read; those of a small one without any."""
    for message in bag.messages({topic}, lambda _: None):
        try:
            height, width = decode_message(message)[1].shape[:2]
        except DgssError:
            continue
        return height, width
    return 48, 64
