"""The least time a network can take on this machine, from memory and arithmetic rates.

Williams et al., "Roofline: an insightful visual performance model", 2009: a layer is bound either
by the bytes it moves or by its operations. Both rates are measured on this machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from dgss_core.runtime.bundle import INPUT, Bundle

OPERATORS = {'Conv': 1, 'ConvTranspose': 1, 'Gemm': 1, 'MatMul': 1}
"""Operators with nearly all operations of a network, and the index of their weights input."""


@dataclass(frozen=True)
class Machine:
    """`copy`: bytes per second read and written; `gemm`: fp32 operations per second."""

    copy: float
    gemm: float


@dataclass(frozen=True)
class Layer:
    """Operations of one layer, and the bytes it reads and writes."""

    operations: int
    traffic: int


def measure_cpu(threads: int = 0) -> Machine:
    """Measure this CPU with `threads` threads, 0 for all cores; takes about a second."""
    count = str(threads or os.cpu_count() or 1)
    # In a separate process, because BLAS reads its number of threads only when it is loaded.
    limits = {'OMP_NUM_THREADS': count, 'OPENBLAS_NUM_THREADS': count, 'MKL_NUM_THREADS': count}
    command = [sys.executable, '-m', __name__, count]
    result = subprocess.run(
        command, env=os.environ | limits, capture_output=True, text=True, check=True
    )
    return Machine(*json.loads(result.stdout))


def layers_of(bundle: Bundle, batch: int = 1) -> list[Layer]:
    """The layers of a bundle's network with an operator of `OPERATORS`, for `batch` images."""
    with tempfile.TemporaryDirectory() as scratch:
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch) / 'profile')
        options.log_severity_level = 3
        # No fusion, so that every layer stays one of `OPERATORS`.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        with bundle.checked_network() as path:
            session = ort.InferenceSession(path, options, providers=['CPUExecutionProvider'])
        session.run(None, {INPUT: np.zeros((batch, bundle.height, bundle.width, 3), np.uint8)})
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes = (event['args'] for event in events if event.get('cat') == 'Node')
    return [_layer(node) for node in nodes if node.get('op_name') in OPERATORS]


def bound(layers: list[Layer], machine: Machine) -> float:
    """The least seconds that the layers take one after the other."""
    return sum(
        max(layer.operations / machine.gemm, layer.traffic / machine.copy) for layer in layers
    )


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
    sizes = ('parameter_size', 'activation_size', 'output_size')
    return Layer(2 * products, sum(int(node[size]) for size in sizes))


def _measure_here(threads: int) -> list[float]:
    size, best_copy, best_gemm = 16 << 20, float('inf'), float('inf')
    source = [np.ones(size, np.uint8) for _ in range(threads)]
    target = [np.empty_like(array) for array in source]
    a = np.random.default_rng(0).random((1024, 1024), np.float32)
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(10):
            start = time.perf_counter()
            list(pool.map(np.copyto, target, source))
            copied = time.perf_counter()
            a @ a
            best_copy = min(best_copy, copied - start)
            best_gemm = min(best_gemm, time.perf_counter() - copied)
    return [2 * size * threads / best_copy, 2 * 1024**3 / best_gemm]


if __name__ == '__main__':
    print(json.dumps(_measure_here(int(sys.argv[1]))))
