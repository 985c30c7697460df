"""Chains in ONNX Runtime, on the device of one of its execution providers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime as ort

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import first_line
from dgss_core.runtime.backends.onnx_runtime import CPU, PROVIDERS
from dgss_core.runtime.roofline.chains import COPY, Chain, by_difference
from dgss_core.runtime.roofline.layers import ERRORS
from dgss_core.runtime.roofline.onnx_file import (
    BFLOAT16,
    FLOAT,
    FLOAT16,
    INT8,
    INT32,
    Node,
    network,
)

TYPES = {'fp32': FLOAT, 'tf32': FLOAT, 'fp16': FLOAT16, 'bf16': BFLOAT16}
DEVICES = {'CUDAExecutionProvider': 'cuda', CPU: 'cpu'}
"""Where the tensors of a provider lie."""


class OnnxClock:
    """Runs chains with an execution provider; never on another one, as ONNX Runtime would.

    The roof of a CPU is measured by numpy; the provider of the CPU is here so that the same chains
    are tested without a GPU. `threads`: CPU threads, 0 for all cores. Raises DgssError for a
    provider that is not installed.
    """

    def __init__(self, provider: str, threads: int = 0) -> None:
        self.name = f'{provider.removesuffix("ExecutionProvider")} in ONNX Runtime'
        if provider not in ort.get_available_providers():
            raise DgssError(
                f'ONNX Runtime {ort.__version__} has no {provider}; install a build that has it, '
                'such as onnxruntime-gpu.'
            )
        self._provider, self._device, self._threads = provider, DEVICES[provider], threads

    def seconds_per_node(self, chain: Chain) -> float:
        if chain.precision == 'tf32' and 'use_tf32' not in PROVIDERS[self._provider]:
            raise DgssError(f'{self.name} has no TF32; measure fp32.')
        with self._refusing(chain):
            return by_difference(lambda length: self._call(chain, length), chain.length)

    def _call(self, chain: Chain, length: int) -> Callable[[], Any]:
        session = self._open(chain, chain_network(chain, length))
        shape = session.get_inputs()[0].shape
        binding = session.io_binding()
        tensor = ort.OrtValue.ortvalue_from_numpy(values(shape), self._device, 0)
        binding.bind_ortvalue_input('x', tensor)
        binding.bind_output(session.get_outputs()[0].name, self._device)
        return lambda: session.run_with_iobinding(binding)  # waits for the device

    def _open(self, chain: Chain, content: bytes) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = self._threads
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        arguments = dict(PROVIDERS[self._provider])
        if chain.precision == 'tf32':
            arguments['use_tf32'] = 1
        if self._provider != CPU:
            options.add_session_config_entry('session.disable_cpu_ep_fallback', '1')
        session = ort.InferenceSession(content, options, providers=[(self._provider, arguments)])
        if session.get_providers()[0] != self._provider:
            raise DgssError(f'{self.name} does not work here; repair it, or use the CPU.')
        return session

    @contextmanager
    def _refusing(self, chain: Chain) -> Iterator[None]:
        """What ONNX Runtime says against `chain`, when it opens or runs it, as a DgssError."""
        try:
            yield
        except ERRORS as error:
            raise DgssError(
                f'{self.name} cannot multiply matrices in {chain.precision} '
                f'({first_line(error)}); measure another precision.'
            ) from error


def chain_network(chain: Chain, length: int) -> bytes:
    """A chain as ONNX, from the floats `x`, of which the first output is wanted.

    In int8 the products are independent, because each returns int32.
    """
    if chain.kind == COPY:
        names = ['x', *(f'h{i}' for i in range(length))]
        nodes = [Node('Neg', (names[i],), names[i + 1]) for i in range(length)]
        return network(nodes, ('x', [chain.side]), [(names[-1], FLOAT, [chain.side])])
    shape = [chain.side, chain.side]
    if chain.precision == 'int8':
        nodes = [Node('Cast', ('x',), 'a', INT8)]
        nodes += [Node('MatMulInteger', ('a', 'a'), f'h{i}') for i in range(length)]
        return network(nodes, ('x', shape), [(f'h{i}', INT32, shape) for i in range(length)])
    names = ['a', *(f'h{i}' for i in range(length))]
    nodes = [Node('Cast', ('x',), 'a', TYPES[chain.precision])]
    nodes += [Node('MatMul', (names[i], 'a'), names[i + 1]) for i in range(length)]
    nodes.append(Node('Cast', (names[-1],), 'y', FLOAT))
    return network(nodes, ('x', shape), [('y', FLOAT, shape)])


def values(shape: list[int]) -> np.ndarray:
    """Random float32 of `shape`, small enough that powers of the matrix stay finite."""
    drawn = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    return drawn / np.float32(np.sqrt(shape[-1]))
