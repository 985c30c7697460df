"""Chains in TensorRT and TensorRT-RTX, on the GPU of this machine; copies by CUDA itself."""

from __future__ import annotations

from contextlib import ExitStack
from types import ModuleType
from typing import Any

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.backends import cuda
from dgss_core.runtime.engines.build import FLAVOURS, import_flavour, make_logger, set_capabilities
from dgss_core.runtime.roofline.chains import COPY, PRODUCT_SIDES, SMALLEST, Chain
from dgss_core.runtime.roofline.onnx_clock import TYPES, chain_network, values
from dgss_core.runtime.roofline.onnx_file import FLOAT, Node, network

REPEATS = 10
SIDE = PRODUCT_SIDES[1] // 2
"""Of all large matrices: a build takes seconds, so that no smaller ones are tried first."""


class TensorRtClock:
    """Builds an engine for each chain, and times it with the events of its stream.

    `flavour`: 'tensorrt' or 'tensorrt_rtx'. Raises DgssError without the library or a GPU.
    """

    def __init__(self, flavour: str) -> None:
        self._trt = import_flavour(flavour)
        self.name = f'{cuda.current_device().name} in {FLAVOURS[flavour]}'

    def seconds_per_node(self, chain: Chain) -> float:
        if chain.kind == COPY:
            return _seconds_of_copy(chain.side * np.dtype(np.float32).itemsize)
        if SMALLEST < chain.side < SIDE:
            return 0.0  # goes on with larger matrices
        return self._seconds(chain) / chain.length

    def _seconds(self, chain: Chain) -> float:
        trt, logger = self._trt, make_logger(self._trt)
        data = build_chain(trt, logger, chain)
        engine = trt.Runtime(logger).deserialize_cuda_engine(data)
        context = engine.create_execution_context() if engine else None
        if context is None:
            raise DgssError(f'{self.name} cannot run its own engine: {logger.errors[-1:]}.')
        with ExitStack() as resources:
            stream = cuda.Stream()
            resources.callback(stream.close)
            for index in range(engine.num_io_tensors):
                name = engine.get_tensor_name(index)
                shape = tuple(engine.get_tensor_shape(name))
                buffer = cuda.Buffer(shape, np.dtype(trt.nptype(engine.get_tensor_dtype(name))))
                resources.callback(buffer.close)
                context.set_tensor_address(name, int(buffer.device))
                if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                    buffer.host[:] = values([*shape])
                    buffer.upload(shape[0], stream.handle)

            def run() -> None:
                context.execute_async_v3(int(stream.handle))

            run()
            graph = stream.record(run)  # as the backend runs a network
            resources.callback(cuda.destroy_graph, graph)
            return min(stream.times(*[lambda: stream.replay(graph)] * REPEATS))


def build_chain(
    trt: ModuleType, logger: Any, chain: Chain, capabilities: tuple[str, ...] = ()
) -> bytes:
    """The engine of a chain of products, for this GPU or ahead of time for `capabilities`.

    Raises DgssError for a precision that TensorRT cannot build.
    """
    builder = trt.Builder(logger)
    typed = getattr(trt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED', None)
    definition = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(definition, logger)
    content = (
        _quantised(chain) if chain.precision == 'int8' else chain_network(chain, chain.length)
    )
    config = builder.create_builder_config()
    (config.set_flag if chain.precision == 'tf32' else config.clear_flag)(trt.BuilderFlag.TF32)
    set_capabilities(trt, config, capabilities)
    engine = (
        builder.build_serialized_network(definition, config) if parser.parse(content) else None
    )
    if engine is None:
        reason = logger.errors[-1] if logger.errors else 'it gives no reason'
        raise DgssError(
            f'{FLAVOURS[trt.__name__]} {trt.__version__} cannot multiply matrices in '
            f'{chain.precision} ({reason}); measure another precision.'
        )
    return bytes(engine)


def _quantised(chain: Chain) -> bytes:
    """Products between Q/DQ nodes, from which TensorRT makes products in int8."""
    assert chain.precision not in TYPES
    shape, scales = [chain.side, chain.side], {'scale': 0.01, 'zero': 0}
    nodes, last = [], 'x'
    for index in range(chain.length):
        nodes += [
            Node('QuantizeLinear', (last, 'scale', 'zero'), f'q{index}'),
            Node('DequantizeLinear', (f'q{index}', 'scale', 'zero'), f'd{index}'),
            Node('MatMul', (f'd{index}', 'd0'), f'h{index}'),
        ]
        last = f'h{index}'
    return network(nodes, ('x', shape), [(last, FLOAT, shape)], scales)


def _seconds_of_copy(size: int) -> float:
    """Seconds to copy `size` bytes within the memory of the GPU."""
    runtime = cuda.cudart
    kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
    with ExitStack() as resources:
        stream = cuda.Stream()
        resources.callback(stream.close)
        places = []
        for _ in range(2):
            places.append(cuda.call(runtime.cudaMalloc, size))
            resources.callback(cuda.call, runtime.cudaFree, places[-1])

        def copy() -> None:
            cuda.call(runtime.cudaMemcpyAsync, *places, size, kind, stream.handle)

        return min(stream.times(*[copy] * REPEATS)[1:])
