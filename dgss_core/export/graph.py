"""A deployed network as an ONNX file."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path

import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from dgss_core.bundle import INPUT
from dgss_core.errors import DgssError
from dgss_core.export.network import DeployedNetwork
from dgss_core.export.precision import OPSETS, TYPES, narrow

OPSET = 18
LARGEST_FILE = 1.9e9
"""Bytes. Protobuf cannot hold 2 GiB; weights of more lie beside the network."""


def write_onnx(
    network: DeployedNetwork,
    path: Path,
    height: int,
    width: int,
    precision: str = 'fp32',
    opset: int | None = None,
) -> None:
    """Write `network` for any number of images of `height` x `width` pixels.

    `precision`: 'fp32', 'fp16' or 'bf16'. `opset`: of ONNX; None is the oldest that will do.
    Raises DgssError for what cannot be exported, naming the operator and the node.
    """
    lowest = OPSETS.get(precision, OPSET)
    if opset is not None and opset < lowest:
        raise DgssError(f'{precision} needs ONNX opset {lowest} or later, not {opset}.')
    # Two images: a batch of one would be taken for a constant.
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            program = torch.onnx.export(
                network.eval(),
                (example,),
                input_names=[INPUT],
                output_names=network.OUTPUTS,
                dynamic_shapes=({0: torch.export.Dim('batch', min=1)},),
                opset_version=opset or lowest,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise _explained(error) from error
    assert program is not None
    model = program.model
    if precision in TYPES:
        narrow(model, precision)
    _name_by_module(model.graph)
    ClearMetadataAndDocStringPass()(model)
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    ir.save(model, path, external_data=f'{path.name}.data' if size > LARGEST_FILE else None)


def _name_by_module(graph: ir.Graph) -> None:
    """`model.encoder.stem/Conv_12` for node 12, so that a runtime's complaint names the layer."""
    for index, node in enumerate(graph):
        scopes = ast.literal_eval(node.metadata_props.get('pkg.torch.onnx.name_scopes', '[]'))
        # The last scope is the operator itself.
        module = scopes[-2] if len(scopes) > 1 else ''
        node.name = f'{module}/{node.op_type}_{index}'.removeprefix('/')


def _explained(error: Exception) -> DgssError:
    text = str(error)
    operator = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", text)
    node = re.search(r'Error when translating node (%\S+)', text)
    if operator and node:
        return DgssError(
            f'The operator {operator[1]} (node {node[1]}) has no counterpart in ONNX; replace it '
            'in the model by operators that have.'
        )
    place = re.findall(r'File "([^"]+)", line (\d+), in', text)
    where = f' at {place[-1][0]}, line {place[-1][1]}' if place else ''
    reason = str(error.__cause__ or error).strip().splitlines()[0]
    return DgssError(f'The model cannot be exported as one graph{where}: {reason}')
