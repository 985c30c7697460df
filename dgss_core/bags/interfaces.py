"""Names and types of the topics of a drive."""

from __future__ import annotations

from functools import lru_cache

from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

IMAGE_TOPIC = '/camera/image_raw'
FRAME_ID = 'camera_optical_frame'

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
STRING = 'std_msgs/msg/String'


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """The standard messages; those used here are the same in every ROS 2 distribution."""
    return get_typestore(Stores.ROS2_JAZZY)


def sibling(image_topic: str, name: str) -> str:
    """The topic `name` beside an image topic: /camera/image_raw/compressed -> /camera/labels."""
    namespace = image_topic.removesuffix('/compressed').rpartition('/')[0]
    return f'{namespace}/{name}'
