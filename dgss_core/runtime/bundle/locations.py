"""Where an ONNX network says that its weights lie, read without a library.

Not every library refuses a network that names a file outside its own folder: ONNX Runtime 1.23,
the last one for Python 3.10, reads it. The fields are those of `onnx.proto3`
(github.com/onnx/onnx), encoded as Protocol Buffers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, SPARSE, FUNCTION, TRAINING, ENTRY = range(9)
_INSIDE = {
    MODEL: {7: GRAPH, 20: TRAINING, 25: FUNCTION},
    GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    TENSOR: {13: ENTRY},
    SPARSE: {1: TENSOR, 2: TENSOR},
    FUNCTION: {7: NODE, 11: ATTRIBUTE},
    TRAINING: {1: GRAPH, 2: GRAPH},
    ENTRY: {},
}
"""The messages in each message, by the number of their field."""
KEY, VALUE = 1, 2
"""Fields of an entry of `TensorProto.external_data`."""
VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 = range(6)
"""Wire types."""
LONGEST = 4096
"""Bytes of the name of a file; what follows is not read."""


def locations_of(path: Path) -> set[str]:
    """The files that the network at `path` reads its weights from, as it names them.

    Raises ValueError for a file that is no message of Protocol Buffers.
    """
    with open(path, 'rb') as file:
        found, waiting = set(), [(MODEL, 0, file.seek(0, os.SEEK_END))]
        if not file.tell():
            raise ValueError('it is empty')
        while waiting:  # no recursion, because graphs may be nested to any depth
            kind, place, end = waiting.pop()
            texts: dict[int, bytes] = {}
            for number, start, length in _fields(file, place, end):
                if kind == ENTRY and number in (KEY, VALUE):
                    file.seek(start)
                    texts[number] = file.read(min(length, LONGEST))
                elif (inner := _INSIDE[kind].get(number)) is not None:
                    waiting.append((inner, start, start + length))
            if texts.get(KEY) == b'location':
                found.add(texts.get(VALUE, b'').decode(errors='replace'))
    return found


def _fields(file: BinaryIO, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, place and length of each field of one message that holds bytes."""
    while place < end:
        file.seek(place)
        head = file.read(min(20, end - place))
        tag, used = _varint(head, 0)
        number, wire, length = (tag & 0xFFFFFFFF) >> 3, tag & 7, 0
        if wire == VARINT:
            used = _varint(head, used)[1]
        elif wire in (FIXED32, FIXED64):
            length = 4 if wire == FIXED32 else 8
        elif wire == BYTES:
            length, used = _varint(head, used)
            yield number, place + used, min(length, end - place - used)
        elif wire not in (GROUP, GROUP_END):
            raise ValueError(f'it has a field of the wire type {wire}')
        place += used + length
        if place > end:
            raise ValueError('a field ends behind the end')


def _varint(head: bytes, place: int) -> tuple[int, int]:
    """A number of at most ten bytes, and the place behind it."""
    value = 0
    for shift, byte in enumerate(head[place : place + 10]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, place + shift + 1
    raise ValueError('a number does not end')
