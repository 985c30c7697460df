"""What an mcap file holds, as its schemas and channels tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mcap.opcode import Opcode
from mcap.records import Channel, Schema

from dgss_core.bags.mcap_records import stream
from dgss_core.bags.stored import CDR, StoredTopic, full_name, is_latched

ROS2 = ('ros2msg', 'ros2idl', 'omgidl', '')
"""Encodings of the schemas of ROS 2 messages."""


@dataclass
class Contents:
    """`profile`: that of the file. `chunks`: the channels of the chunk at an offset, where known.

    `nameless`: the type of a channel is not there.
    """

    profile: str
    schemas: dict[int, tuple[str, str]] = field(default_factory=dict)
    channels: dict[int, StoredTopic] = field(default_factory=dict)
    chunks: dict[int, frozenset[int]] = field(default_factory=dict)
    counts: Mapping[int, int] = field(default_factory=dict)
    start_ns: int = 0
    end_ns: int = 0
    nameless: bool = False

    def take(self, opcode: int, content: memoryview) -> None:
        """Take a schema or a channel."""
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(stream(content))
            self.schemas[schema.id] = schema.name, schema.encoding
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(stream(content))
            name, encoding = self.schemas.get(channel.schema_id, ('', ''))
            self.nameless |= bool(channel.schema_id) and channel.schema_id not in self.schemas
            self.channels[channel.id] = StoredTopic(
                channel.topic,
                full_name(name),
                self._encoding(channel.message_encoding, encoding),
                is_latched(channel.metadata.get('offered_qos_profiles', '')),
                0,
            )

    def _encoding(self, messages: str, schema: str) -> str:
        if 'ros1' in (self.profile, messages) or schema == 'ros1msg':
            return 'ros1'
        messages = messages or CDR
        return schema if messages == CDR and schema not in ROS2 else messages
