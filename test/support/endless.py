"""A bundle whose network never returns."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper
from probe import HEIGHT, WIDTH, manifest_of

from dgss_core.runtime.bundle import CONFIDENCE, INPUT, MASK
from dgss_core.runtime.bundle.writing import write_bundle


def endless_bundle(folder: Path) -> Path:
    """Write a bundle whose network loops 2**62 times inside ONNX Runtime."""
    tensor, node = helper.make_tensor_value_info, helper.make_node
    byte, shape = TensorProto.UINT8, ['batch', HEIGHT, WIDTH]
    body = helper.make_graph(
        [
            node('Identity', ['go_on'], ['still']),
            node('Add', ['before', 'before'], ['after']),
        ],
        'body',
        [
            tensor('step', TensorProto.INT64, []),
            tensor('go_on', TensorProto.BOOL, []),
            tensor('before', byte, shape),
        ],
        [tensor('still', TensorProto.BOOL, []), tensor('after', byte, shape)],
    )
    graph = helper.make_graph(
        [
            node('Gather', [INPUT, 'red'], ['pixels'], axis=3),
            node('Loop', ['times', '', 'pixels'], [MASK], body=body),
            node('Identity', ['pixels'], [CONFIDENCE]),
        ],
        'endless',
        [tensor(INPUT, byte, [*shape, 3])],
        [tensor(name, byte, shape) for name in (MASK, CONFIDENCE)],
        [
            helper.make_tensor('red', TensorProto.INT64, [], [0]),
            helper.make_tensor('times', TensorProto.INT64, [], [2**62]),
        ],
    )
    path = folder.with_suffix('.onnx')
    opsets = [helper.make_opsetid('', 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return write_bundle(folder, path, manifest_of(folder.name)).folder
