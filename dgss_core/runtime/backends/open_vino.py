"""OpenVINO: the fastest backend on Intel and AMD processors; uses bf16 if they support it."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import BackendOptions, closed_error
from dgss_core.runtime.bundle import INPUT, Bundle
from dgss_core.runtime.engines import RefusedError
from dgss_core.runtime.key import EngineKey, processor

try:
    import openvino as ov
except ImportError as error:
    raise DgssError(f'OpenVINO is not installed ({error}); run pip install openvino.') from error


def precisions() -> list[str]:
    """Run-time precisions for an fp32 network on this processor, the fastest first."""
    offers = ov.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    return ['bf16', 'fp32'] if 'BF16' in offers else ['fp32']


class OpenVinoBackend:
    """Runs the network of a bundle on the CPU, image by image.

    `precision`: 'bf16' runs an fp32 network in bf16; any other value keeps the types in the
    graph. `threads`: 0 for all cores. Raises DgssError for a network that OpenVINO cannot load.
    """

    name = 'openvino'

    def __init__(self, bundle: Bundle, precision: str, threads: int = 0) -> None:
        self.sha256 = bundle.fingerprint
        self.key = EngineKey.of(
            bundle,
            processor(),
            backend=self.name,
            version=ov.__version__,
            batch='1',
            options='latency',
            precision=precision,
        )
        self.identity = f'OpenVINO {ov.__version__.split("-")[0]}, CPU, {precision}'
        properties: dict[str, Any] = {
            'PERFORMANCE_HINT': 'LATENCY',
            # f32 keeps the types and the quantisation of the graph.
            'INFERENCE_PRECISION_HINT': 'bf16' if precision == 'bf16' else 'f32',
        }
        if threads:
            properties['INFERENCE_NUM_THREADS'] = threads
        core = ov.Core()
        try:
            model = core.read_model(bundle.onnx_path)
            # Kernels for any batch size are slower, and batches gain nothing on a CPU.
            model.reshape({INPUT: [1, bundle.height, bundle.width, 3]})
            network = core.compile_model(model, 'CPU', properties)
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise RefusedError(
                f'{bundle.onnx_path} cannot be loaded by OpenVINO {ov.__version__}: '
                f'{lines[-1].strip()}; use the backend onnxruntime.'
            ) from error
        self._network: ov.CompiledModel | None = network
        self._outputs = [output.get_any_name() for output in network.outputs]
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
            parts = [list(request.infer({INPUT: image[None]}).values()) for image in images]
        finally:
            self._idle.put(request)
        arrays = (np.concatenate(values) for values in zip(*parts, strict=True))
        return dict(zip(self._outputs, arrays, strict=True))

    def close(self) -> None:
        self._network = None
        self._idle = SimpleQueue()  # frees the requests, which hold the network


def open_backend(bundle: Bundle, options: BackendOptions) -> OpenVinoBackend:
    return OpenVinoBackend(bundle, options.precision, options.threads)
