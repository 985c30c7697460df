"""Precision as types in the graph: fp16 or bf16 layers with islands that stay in fp32.

A strongly typed TensorRT network runs every layer in the type of its tensors; TensorRT 11 has no
other kind. Therefore the types are chosen here, once, and stored in the file for every runtime.

Layers with weights get the narrow type, and so do `FOLLOWERS` of their outputs. fp32 remains for

- all other operators: norms, reductions, exponentials, trigonometry, sampling;
- attention scores and sampling positions: everything between a layer with weights and a softmax
  or a sampling grid. Fused attention in fp16 was silently wrong on several TensorRT versions
  (NVIDIA/TensorRT issues 4723 and 4837), and a position in fp16 is off by a twentieth of a cell;
- everything that `DeployedNetwork` itself computes before and after the model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass

from dgss_core.export.network import MODEL_PREFIX

WEIGHTED = {'Conv', 'ConvTranspose', 'Gemm', 'MatMul'}
FOLLOWERS = {
    *('Add', 'Sub', 'Mul', 'Div', 'Neg', 'Clip', 'Erf', 'Where', 'Einsum'),
    *('Relu', 'LeakyRelu', 'Gelu', 'Sigmoid', 'HardSigmoid', 'Tanh'),
    *('Identity', 'Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Transpose', 'Expand'),
    *('Concat', 'Split', 'Slice', 'Gather', 'Pad', 'Resize', 'MaxPool', 'AveragePool'),
}
ISLANDS = {'Softmax': 0, 'GridSample': 1}
"""Operators with the index of an input that stays in fp32, back to the nearest layers."""
TYPES = {'fp16': ir.DataType.FLOAT16, 'bf16': ir.DataType.BFLOAT16}
OPSETS = {'bf16': 22}
"""The first opset with convolutions in this type."""


def narrow(model: ir.Model, precision: str) -> None:
    """Set the types of the layers of `model`, in place, to `precision`: 'fp16' or 'bf16'.

    The names of its nodes must start with their module, as `write_onnx` writes them.
    """
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    graph, dtype = model.graph, TYPES[precision]
    islands = set(_islands(graph))
    chosen: set[ir.Node] = set()
    for node in graph:
        if node not in islands and _is_in_model(node) and _is_narrow(node, chosen):
            chosen.add(node)
    casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
    for node in list(graph):
        wanted = dtype if node in chosen else ir.DataType.FLOAT
        for index, value in enumerate(node.inputs):
            if value is None or not _is_typed(node, index) or not _is_real(value):
                continue
            if value.dtype != wanted:
                node.replace_input_with(index, _cast(graph, node, value, wanted, casts))
        if node in chosen:
            for output in node.outputs:
                if output.dtype == ir.DataType.FLOAT:
                    output.dtype = dtype
    RemoveUnusedNodesPass()(model)


def _islands(graph: ir.Graph) -> Iterator[ir.Node]:
    """Yield every node between a layer with weights and the inputs in `ISLANDS`."""
    waiting = [node.inputs[ISLANDS[node.op_type]] for node in graph if node.op_type in ISLANDS]
    visited: set[ir.Node] = set()
    while waiting:
        value = waiting.pop()
        # A comparison, as for Mask2Former's attention masks, loses the precision anyway.
        node = value.producer() if value is not None and _is_real(value) else None
        if node is None or node in visited or _has_weights(node):
            continue
        visited.add(node)
        yield node
        waiting.extend(node.inputs)


def _has_weights(node: ir.Node) -> bool:
    return node.op_type in WEIGHTED and any(
        value is not None and value.is_initializer() for value in node.inputs
    )


def _is_in_model(node: ir.Node) -> bool:
    return (node.name or '').startswith(MODEL_PREFIX)


def _is_narrow(node: ir.Node, chosen: set[ir.Node]) -> bool:
    if _has_weights(node):
        return True
    # A product of two activations, such as attention times values, counts as a layer too.
    passes_on = node.op_type in FOLLOWERS or node.op_type in WEIGHTED
    return passes_on and any(
        value is not None and value.producer() in chosen for value in node.inputs
    )


def _is_typed(node: ir.Node, index: int) -> bool:
    """Whether an input must have the type of the output; not so for the scales of a Resize."""
    return node.op_type != 'Cast' and (node.op_type != 'Resize' or index == 0)


def _is_real(value: ir.Value) -> bool:
    return value.dtype in (ir.DataType.FLOAT, *TYPES.values())


def _cast(
    graph: ir.Graph,
    node: ir.Node,
    value: ir.Value,
    wanted: ir.DataType,
    casts: dict[tuple[ir.Value, ir.DataType], ir.Value],
) -> ir.Value:
    """Return `value` as `wanted`: a converted initializer, or a cast shared by all users."""
    if (value, wanted) in casts:
        return casts[value, wanted]
    name = f'{value.name}_{wanted.short_name()}'
    tensor = value.const_value if value.is_initializer() else None
    if tensor is not None:
        with np.errstate(over='ignore'):  # the check of the masks tells what overflows
            converted = ir.Tensor(tensor.numpy().astype(wanted.numpy()), name=name)
        cast = ir.Value(name=name, const_value=converted, type=ir.TensorType(wanted))
        cast.shape = value.shape
        graph.register_initializer(cast)
    else:
        caster = ir.node('Cast', [value], {'to': wanted}, name=name)
        (cast,) = caster.outputs
        cast.name, cast.shape, cast.dtype = name, value.shape, wanted
        graph.insert_before(node, caster)
    casts[value, wanted] = cast
    return cast
