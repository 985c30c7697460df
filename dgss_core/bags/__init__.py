"""Read and write rosbag2 recordings (mcap and sqlite3) without a ROS installation.

A drive has one namespace: `/camera/image_raw` (or `/camera/image_raw/compressed`),
`/camera/camera_info`, `/camera/labels` with the stamps of the images, and the latched
`/camera/condition`, written at the time of the first image in that condition.
"""

from dgss_core.bags.bag import Bag, BagInfo, BagTopic, bag_info, read_messages, span
from dgss_core.bags.interfaces import FRAME_ID, IMAGE_TOPIC
from dgss_core.bags.reader import image_topic, read_bag
from dgss_core.bags.recorder import STORAGES, BagRecorder
from dgss_core.bags.stored import BagMessage
from dgss_core.bags.writer import write_bag

__all__ = [
    'FRAME_ID',
    'IMAGE_TOPIC',
    'STORAGES',
    'Bag',
    'BagInfo',
    'BagMessage',
    'BagRecorder',
    'BagTopic',
    'bag_info',
    'image_topic',
    'read_bag',
    'read_messages',
    'span',
    'write_bag',
]
