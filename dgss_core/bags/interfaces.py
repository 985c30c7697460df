"""Names and types of the topics of a drive."""

from __future__ import annotations

from functools import lru_cache

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

IMAGE_TOPIC = '/camera/image_raw'
FRAME_ID = 'camera_optical_frame'

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
FOXGLOVE_VIDEO = 'foxglove_msgs/msg/CompressedVideo'
FFMPEG_PACKET = 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'
STRING = 'std_msgs/msg/String'
FLOAT32 = 'std_msgs/msg/Float32'

IMAGES = (IMAGE, COMPRESSED)
"""The types of which every message is a picture by itself."""
VIDEOS = (FOXGLOVE_VIDEO, FFMPEG_PACKET)
"""The types whose messages are pictures of a video, predicted from those before."""
FIELDS = {
    FOXGLOVE_VIDEO: (
        'builtin_interfaces/Time timestamp',
        'string frame_id',
        'uint8[] data',
        'string format',
    ),
    FFMPEG_PACKET: (
        'std_msgs/Header header',
        'int32 width',
        'int32 height',
        'string encoding',
        'uint64 pts',
        'uint8 flags',
        'bool is_bigendian',
        'uint8[] data',
    ),
}
"""Types that are no part of ROS 2, as the packages of these names define them."""


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """The standard messages, the same in every ROS 2 distribution, and those of `FIELDS`."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, fields in FIELDS.items():
        store.register(get_types_from_msg('\n'.join(fields), name))
    return store


def sibling(image_topic: str, name: str) -> str:
    """The topic `name` beside an image topic: /camera/image_raw/compressed -> /camera/labels."""
    namespace = image_topic.removesuffix('/compressed').rpartition('/')[0]
    return f'{namespace}/{name}'
