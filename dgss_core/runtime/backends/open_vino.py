"""OpenVINO: the fastest backend on Intel and AMD processors; uses bf16 if they support it."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import (
    BackendOptions,
    check_tensors,
    closed_error,
    unusable_library,
)
from dgss_core.runtime.bundle import CONFIDENCE, INPUT, MASK, STATISTICS, UNCERTAINTY, Bundle
from dgss_core.runtime.engines import RefusedError
from dgss_core.runtime.key import EngineKey, processor

try:
    import openvino as ov
except ImportError as error:
    raise unusable_library('OpenVINO', 'openvino', error) from error

OUTPUTS = (MASK, CONFIDENCE, UNCERTAINTY, STATISTICS)


@cache
def _core() -> ov.Core:
    """The core of this process. To make and free several ends a process by a segmentation fault,
    sooner or later (openvinotoolkit/openvino#35338, ultralytics/ultralytics#25864)."""
    return ov.Core()


def precisions() -> list[str]:
    """Run-time precisions for an fp32 network on this processor, the fastest first.

    Raises DgssError if OpenVINO cannot use the processor.
    """
    try:
        offers = _core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    except Exception as error:  # RuntimeError, and what else its plugins raise.
        raise DgssError(
            f'OpenVINO {ov.__version__} cannot use this processor ({_reason(error)}); use the '
            'backend onnxruntime.'
        ) from error
    return ['bf16', 'fp32'] if 'BF16' in offers else ['fp32']


class OpenVinoBackend:
    """Runs the network of a bundle on the CPU, image by image.

    `precision`: 'bf16' runs an fp32 network in bf16; any other value keeps the types in the
    graph. `threads`: 0 for all cores. `lanes`: calls that run at once, each on a part of the
    threads. Raises DgssError for a network that OpenVINO cannot load.
    """

    name, device = 'openvino', 'CPU'

    def __init__(self, bundle: Bundle, precision: str, threads: int = 0, lanes: int = 1) -> None:
        self.sha256, self.network = bundle.fingerprint, bundle.identity
        self.precision = precision
        self.key = EngineKey.of(
            bundle,
            processor(),
            backend=self.name,
            version=ov.__version__,
            batch='1',
            options='latency' if lanes == 1 else f'{lanes} streams',
            precision=precision,
        )
        self.identity = f'OpenVINO {ov.__version__.split("-")[0]}, CPU, {precision}'
        properties: dict[str, Any] = {
            'PERFORMANCE_HINT': 'LATENCY' if lanes == 1 else 'THROUGHPUT',
            # f32 keeps the types and the quantisation of the graph.
            'INFERENCE_PRECISION_HINT': 'bf16' if precision == 'bf16' else 'f32',
        }
        if lanes > 1:
            properties['NUM_STREAMS'] = lanes
        if threads:
            properties['INFERENCE_NUM_THREADS'] = threads
        with bundle.checked_network() as path:
            try:
                core = _core()
                model = core.read_model(path)
                self._outputs = _check(model, bundle)
                network = core.compile_model(model, 'CPU', properties)
            except DgssError:
                raise
            except Exception as error:  # UnicodeDecodeError for a name, RuntimeError for the rest
                raise RefusedError(
                    f'{bundle.onnx_path} cannot be loaded by OpenVINO {ov.__version__}: '
                    f'{_reason(error)}; use the backend onnxruntime.'.replace(
                        str(path), str(bundle.onnx_path)
                    )
                ) from error
        self._network: ov.CompiledModel | None = network
        self._idle: SimpleQueue[ov.InferRequest] = SimpleQueue()

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        network = self._network
        if network is None:
            raise closed_error(self.identity)
        request = None
        with suppress(Empty):
            request = self._idle.get_nowait()
        request = request or network.create_infer_request()
        try:
            parts = [self._infer(request, image[None]) for image in images]
        finally:
            self._idle.put(request)
        arrays = (np.concatenate(values) for values in zip(*parts, strict=True))
        return dict(zip(self._outputs, arrays, strict=True))

    def _infer(self, request: ov.InferRequest, image: np.ndarray) -> list[np.ndarray]:
        # By index: two outputs that OpenVINO has merged share their names.
        request.infer({INPUT: image}, share_outputs=True)
        return [request.get_output_tensor(i).data.copy() for i in range(len(self._outputs))]

    def close(self) -> None:
        self._network = None
        self._idle = SimpleQueue()  # frees the requests, which hold the network


def _check(model: ov.Model, bundle: Bundle) -> list[str]:
    """Fix the batch size of `model`; return the names of its outputs in their order.

    Raises DgssError for tensors that are not those of a bundle.
    """
    inputs = [port.get_any_name() for port in model.inputs]
    tensors = {name: _describe(port) for name, port in zip(inputs, model.inputs, strict=True)}
    if inputs == [INPUT] and tensors[INPUT] == ('uint8', (bundle.height, bundle.width, 3)):
        # Kernels for any batch size are slower, and batches gain nothing on a CPU. A reshape to
        # another height or width would change the network.
        model.reshape({INPUT: [1, bundle.height, bundle.width, 3]})
    outputs: list[str] = []
    for port in model.outputs:
        # A node that OpenVINO merges with the one before it has the names of both.
        names = [name for name in OUTPUTS if name in port.get_names() and name not in outputs]
        outputs.append(names[0] if names else port.get_any_name())
        tensors[outputs[-1]] = _describe(port)
    check_tensors(bundle, inputs, tensors)
    return outputs


def _describe(port: ov.Output) -> tuple[str, tuple[object, ...]]:
    """The numpy type and the shape without the batch."""
    dimensions = (
        list(port.get_partial_shape())[1:] if port.get_partial_shape().rank.is_static else []
    )
    shape = tuple(d.get_length() if d.is_static else str(d) for d in dimensions)
    return port.get_element_type().to_dtype().name, shape


def _reason(error: Exception) -> str:
    """The last line of an error of OpenVINO; those before it say where."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:500] if lines else type(error).__name__


def open_backend(bundle: Bundle, options: BackendOptions) -> OpenVinoBackend:
    return OpenVinoBackend(bundle, options.precision, options.threads, options.lanes)
