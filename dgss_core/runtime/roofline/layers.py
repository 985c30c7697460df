"""What a network does: operations and tensors of its layers, and the number of its nodes."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import first_line
from dgss_core.runtime.bundle import INPUT, Bundle

OPERATORS = {'Conv': 1, 'ConvTranspose': 1, 'Gemm': 1, 'MatMul': 1}
"""Operators with nearly all operations of a network, and the index of their weights input."""
CPU = 'CPUExecutionProvider'
ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    *(
        kind
        for kind in vars(onnxruntime_pybind11_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
)
"""What ONNX Runtime raises; its classes share no base but Exception."""


@dataclass(frozen=True)
class Layer:
    """Operations of one layer, and the elements of the tensors that it reads and writes.

    A product of two activations, as in attention, has 0 elements: a fused kernel keeps them on
    the chip.
    """

    operations: int
    elements: int


def layers_of(bundle: Bundle, batch: int = 1) -> list[Layer]:
    """The layers of a bundle's network with an operator of `OPERATORS`, for `batch` images.

    Raises DgssError for a network that ONNX Runtime cannot run on the CPU.
    """
    # No fusion, so that every layer stays one of `OPERATORS`.
    events = _profile(bundle, batch, (CPU, {}), ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    return [_layer(node) for node in events if node.get('op_name') in OPERATORS]


def nodes_of(bundle: Bundle, batch: int, provider: str, options: dict[str, Any]) -> int:
    """The nodes that ONNX Runtime runs in one call with a provider, after its optimisation.

    Raises DgssError for a network that it cannot run there.
    """
    everything = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return len(_profile(bundle, batch, (provider, options), everything))


def _profile(
    bundle: Bundle,
    batch: int,
    provider: tuple[str, dict[str, Any]],
    level: ort.GraphOptimizationLevel,
) -> list[dict[str, Any]]:
    """What ONNX Runtime records of each node in one call."""
    with tempfile.TemporaryDirectory() as scratch:
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch) / 'profile')
        options.log_severity_level = 3
        options.graph_optimization_level = level
        # Weights that are packed ahead of time are not recorded as inputs.
        options.add_session_config_entry('session.disable_prepacking', '1')
        providers = [provider, *([CPU] if provider[0] != CPU else [])]
        images = np.zeros((batch, bundle.height, bundle.width, 3), np.uint8)
        try:
            with bundle.checked_network() as path:
                session = ort.InferenceSession(path, options, providers=providers)
            session.run(None, {INPUT: images})
        except ERRORS as error:
            raise DgssError(
                f'the nodes of {bundle.identity} cannot be counted on {provider[0]} '
                f'({first_line(error)}); export it in another precision.'
            ) from error
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes = [event for event in events if event.get('cat') == 'Node']
    return [event['args'] for event in nodes if event['name'].endswith('_kernel_time')]


def _layer(node: dict[str, Any]) -> Layer:
    def shape(tensor: dict[str, list[int]]) -> list[int]:
        return next(iter(tensor.values()))

    inputs = [shape(tensor) for tensor in node['input_type_shape']]
    output, weights = shape(node['output_type_shape'][0]), inputs[OPERATORS[node['op_name']]]
    if node['op_name'] == 'ConvTranspose':
        products = prod(inputs[0]) * prod(weights[1:])
    elif node['op_name'] == 'Conv':
        products = prod(output) * prod(weights[1:])
    else:
        products = prod(output) * inputs[0][-1]
    is_inner = node['op_name'] == 'MatMul' and len(weights) > 2
    return Layer(2 * products, 0 if is_inner else sum(map(prod, (*inputs, output))))
