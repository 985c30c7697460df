"""Stamps that tell the images of a bag apart."""

from __future__ import annotations

import struct

import pytest

from dgss_core.bags import BagMessage
from dgss_core.bags.stored import raw_stamp_ns
from dgss_ros.replay.stamps import Stamps

pytestmark = pytest.mark.ros
NS = 10**9


@pytest.mark.parametrize('order', ['<', '>'])
def test_every_stamp_occurs_once(order: str) -> None:
    head = bytes([0, order == '<', 0, 0])
    own = [0, 5 * NS, 5 * NS, 5 * NS + 1, 0, 0, 7 * NS]
    recorded = [1 * NS, 5 * NS, 6 * NS, 6 * NS, 1 * NS, (1 << 64) - 1, 7 * NS]
    stamps = Stamps()
    found = []
    for stamp_ns, recorded_ns in zip(own, recorded, strict=True):
        data = head + struct.pack(f'{order}iI', *divmod(stamp_ns, NS)) + b'rest'
        message = stamps.unique(BagMessage('/image', 'sensor_msgs/msg/Image', recorded_ns, data))
        assert message.data[12:] == b'rest'
        found.append(raw_stamp_ns(message.data))
    assert found[:5] == [1 * NS, 5 * NS, 5 * NS + 1, 5 * NS + 2, 1 * NS + 1]
    assert len(set(found)) == len(found)
    assert stamps.changed == 5


def test_a_stamp_before_1970_is_none() -> None:
    head = bytes([0, 1, 0, 0])
    stamps = Stamps()
    found = []
    for second in (-1, 0, 1, -(1 << 31)):
        data = head + struct.pack('<iI', second, 5)
        message = BagMessage('/image', 'sensor_msgs/msg/Image', 7 * NS, data)
        found.append(raw_stamp_ns(stamps.unique(message).data))
    assert found == [7 * NS, 5, NS + 5, 7 * NS + 1]
    assert stamps.changed == 2


def test_images_are_counted_once_however_often_the_bag_is_played() -> None:
    head = bytes([0, 1, 0, 0])
    stamps = Stamps()
    found = []
    for again in range(3):
        for second in (5, 5, 6, 0):
            data = head + struct.pack('<iI', second, 0)
            message = BagMessage('/image', 'sensor_msgs/msg/Image', 7 * NS, data)
            found.append(raw_stamp_ns(stamps.unique(message, again).data))
    assert len(set(found)) == len(found)
    assert stamps.changed == 2


def test_a_message_that_is_too_short_stays_as_it_is() -> None:
    message = BagMessage('/image', 'sensor_msgs/msg/Image', 1, b'\0\1\0\0abc')
    assert Stamps().unique(message) is message
