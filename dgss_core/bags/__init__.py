"""rosbag2 recordings, mcap and sqlite3, read and written without a ROS installation.

A drive lies under one namespace: `/camera/image_raw` (or `/camera/image_raw/compressed`),
`/camera/camera_info`, `/camera/labels` with the stamps of its images, and `/camera/condition`,
latched, written at the time of the first image it holds for.
"""

from dgss_core.bags.interfaces import FRAME_ID, IMAGE_TOPIC
from dgss_core.bags.reader import (
    BagInfo,
    BagMessage,
    BagTopic,
    bag_info,
    image_topic,
    read_bag,
    read_messages,
)
from dgss_core.bags.recorder import STORAGES, BagRecorder
from dgss_core.bags.writer import write_bag

__all__ = [
    'FRAME_ID',
    'IMAGE_TOPIC',
    'STORAGES',
    'BagInfo',
    'BagMessage',
    'BagRecorder',
    'BagTopic',
    'bag_info',
    'image_topic',
    'read_bag',
    'read_messages',
    'write_bag',
]
