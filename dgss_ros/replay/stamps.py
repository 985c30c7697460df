"""Stamps that tell the images of a bag apart."""

from __future__ import annotations

import struct
from dataclasses import replace

from dgss_core.bags import BagMessage
from dgss_core.bags.stored import HEADED, raw_stamp_ns

END_NS = 10**9 << 31
"""The seconds of a stamp are an int32."""


class Stamps:
    """Gives an image a stamp of its own if it has none, or that of an image before it.

    A stamp of zero or less is none: a bag holds no time before 1970, and ROS takes zero for an
    unknown time. The first gets the time of its recording, the second its own stamp; both then the
    next free nanosecond. `changed`: how many there are in the bag, however often it is played.
    """

    def __init__(self) -> None:
        self.changed = 0
        self._used = {0}

    def unique(self, message: BagMessage, again: int = 0) -> BagMessage:
        """The message with a stamp that no other has; one too short for a stamp stays as it is.

        `again`: how often the bag was played before. Each time makes a stamp a nanosecond later.
        """
        if len(message.data) < HEADED:
            return message
        own_ns = raw_stamp_ns(message.data)
        stamp_ns = own_ns + again if own_ns > 0 else 0
        if stamp_ns in self._used:
            self.changed += not again
            stamp_ns = stamp_ns or message.stamp_ns % END_NS
            while stamp_ns in self._used:
                stamp_ns += 1
        if stamp_ns != own_ns:
            message = replace(message, data=_stamped(message.data, stamp_ns))
        self._used.add(stamp_ns)
        return message


def _stamped(data: bytes, stamp_ns: int) -> bytes:
    order = '<' if data[1] & 1 else '>'
    return data[:4] + struct.pack(f'{order}iI', *divmod(stamp_ns, 10**9)) + data[HEADED:]
