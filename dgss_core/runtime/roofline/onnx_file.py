"""ONNX networks of a few operators in a row, as bytes, without the package onnx.

A vehicle has ONNX Runtime or TensorRT, which read ONNX, and nothing that writes it. The fields are
those of `onnx.proto3` (github.com/onnx/onnx, IR version 8), encoded as Protocol Buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

IR_VERSION, OPSET = 8, 18
FLOAT, INT8, INT32, FLOAT16, BFLOAT16 = 1, 3, 6, 10, 16
"""Element types of `TensorProto`."""
INT_ATTRIBUTE = 2


@dataclass(frozen=True)
class Node:
    """An operator; `to`: the element type of a Cast."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    to: int = 0


def network(
    nodes: Sequence[Node],
    input_: tuple[str, Sequence[int]],
    outputs: Sequence[tuple[str, int, Sequence[int]]],
    scalars: Mapping[str, float | int] | None = None,
) -> bytes:
    """A network with one float input of a fixed shape.

    `outputs`: name, element type and shape. `scalars`: constants, a float or an int for int8.
    """
    graph = b''.join(_field(1, _node(node)) for node in nodes) + _field(2, b'chain')
    graph += b''.join(_field(5, _scalar(*each)) for each in (scalars or {}).items())
    graph += _field(11, _value(input_[0], FLOAT, input_[1]))
    graph += b''.join(_field(12, _value(*output)) for output in outputs)
    opset = _field(1, b'') + _number(2, OPSET)
    return _number(1, IR_VERSION) + _field(7, graph) + _field(8, opset)


def _node(node: Node) -> bytes:
    parts = [_field(1, name.encode()) for name in node.inputs]
    parts += [_field(2, node.output.encode()), _field(3, node.output.encode())]
    parts.append(_field(4, node.operator.encode()))
    if node.to:
        parts.append(
            _field(5, _field(1, b'to') + _number(3, node.to) + _number(20, INT_ATTRIBUTE))
        )
    return b''.join(parts)


def _value(name: str, kind: int, shape: Sequence[int]) -> bytes:
    dimensions = b''.join(_field(1, _number(1, side)) for side in shape)
    tensor = _number(1, kind) + _field(2, dimensions)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _scalar(name: str, value: float | int) -> bytes:
    is_int = isinstance(value, int)
    data = struct.pack('<b' if is_int else '<f', value)
    return _number(2, INT8 if is_int else FLOAT) + _field(8, name.encode()) + _field(9, data)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
