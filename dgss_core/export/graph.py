"""A deployed network as an ONNX file."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path

import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from onnxscript.version_converter import convert_version

from dgss_core.errors import DgssError
from dgss_core.export.network import MODEL_PREFIX, DeployedNetwork
from dgss_core.export.precision import OPSETS, narrow
from dgss_core.runtime.bundle import INPUT

OPSET = 18
LARGEST_FILE = 1.9e9
"""Bytes of weights; more go into a separate file, because Protobuf is limited to 2 GiB."""


def write_onnx(
    network: DeployedNetwork, path: Path, *, height: int, width: int, opset: int = OPSET
) -> None:
    """Write `network` in fp32 for `height` x `width` pixels and any batch size.

    Raises DgssError with the operator and the node that cannot be exported.
    """
    # Two images, because torch.export treats a batch of one as a constant.
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
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise _explained(error) from error
    assert program is not None
    _name_by_module(program.model.graph)
    ClearMetadataAndDocStringPass()(program.model)
    _save(program.model, path)


def write_narrow(source: Path, target: Path, precision: str) -> None:
    """Write the fp32 network `source` to `target` in 'fp16' or 'bf16'."""
    model = ir.load(source)
    lowest = OPSETS.get(precision, 0)
    if (model.opset_imports[''] or 0) < lowest:
        convert_version(model, lowest)
    narrow(model, precision)
    _save(model, target)


def _save(model: ir.Model, path: Path) -> None:
    constants = (value.const_value for value in model.graph.initializers.values())
    size = sum(tensor.nbytes for tensor in constants if tensor is not None)
    ir.save(model, path, external_data=f'{path.name}.data' if size > LARGEST_FILE else None)


def _name_by_module(graph: ir.Graph) -> None:
    """Name node 12 `model.encoder.stem/Conv_12`, so that errors of a runtime name the layer.

    Only nodes inside the model get the name of their module, which starts with `MODEL_PREFIX`.
    """
    for index, node in enumerate(graph):
        scopes = ast.literal_eval(node.metadata_props.get('pkg.torch.onnx.name_scopes', '[]'))
        # The last scope is the operator itself; the exporter adds scopes of its own.
        is_inside = len(scopes) > 1 and scopes[-2].startswith(MODEL_PREFIX)
        module = f'{scopes[-2]}/' if is_inside else ''
        node.name = f'{module}{node.op_type}_{index}'


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
