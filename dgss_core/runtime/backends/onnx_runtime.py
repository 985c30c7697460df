"""ONNX Runtime: runs everywhere, and on the CPU in fp32 is the reference for all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import BackendOptions
from dgss_core.runtime.bundle import CONFIDENCE, INPUT, MASK, Bundle
from dgss_core.runtime.key import EngineKey, processor

CPU = 'CPUExecutionProvider'
PROVIDERS: dict[str, dict[str, Any]] = {
    # The fastest first; in the precision that the graph is typed in, and no other.
    'CUDAExecutionProvider': {'use_tf32': 0},
    'OpenVINOExecutionProvider': {'device_type': 'CPU', 'precision': 'ACCURACY'},
    CPU: {},
}
"""Execution providers of ONNX Runtime that are used where the installed build has them."""


class OnnxRuntimeBackend:
    """Runs the network of a bundle with the first of `providers` that works here.

    `threads`: of the CPU, 0 for all cores. Raises DgssError for a network that ONNX Runtime
    cannot load, or whose tensors are not those of a bundle.
    """

    name = 'onnxruntime'

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 0,
        providers: Sequence[str] = tuple(PROVIDERS),
        report: Callable[[str], Any] = lambda line: None,
    ) -> None:
        available = [name for name in providers if name in ort.get_available_providers()]
        for provider in available:
            self._session = self._open(bundle, threads, provider)
            used = self._session.get_providers()[0]
            if used == provider:
                break
            # It falls back without an error where its GPU or a library of its own is missing.
            report(f'{_short(provider)} of ONNX Runtime does not work here; trying the next.')
        self._check_tensors(bundle)
        self._outputs = [tensor.name for tensor in self._session.get_outputs()]
        precision = bundle.manifest.precision
        self.identity = f'ONNX Runtime {ort.__version__}, {_short(used)}, {precision}'
        self.key = None if (used, precision) == (CPU, 'fp32') else _key(bundle, used)
        self.sha256 = bundle.fingerprint

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self._outputs, self._session.run(None, {INPUT: images}), strict=True))

    def close(self) -> None:
        del self._session

    @staticmethod
    def _open(bundle: Bundle, threads: int, provider: str) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Threads that spin between two images take the cores from the camera and the middleware.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        providers = [(name, PROVIDERS[name]) for name in dict.fromkeys((provider, CPU))]
        try:
            return ort.InferenceSession(str(bundle.onnx_path), options, providers=providers)
        # ONNX Runtime's own exception classes share no base but Exception.
        except Exception as error:
            raise DgssError(
                f'{bundle.onnx_path} cannot be loaded by ONNX Runtime {ort.__version__}: '
                f'{str(error).splitlines()[0]}; export the bundle again.'
            ) from error

    def _check_tensors(self, bundle: Bundle) -> None:
        """Refuse a network whose tensors are not those every bundle must have."""
        size = (bundle.height, bundle.width)
        expected = {INPUT: (*size, 3), MASK: size, CONFIDENCE: size}
        tensors = [*self._session.get_inputs(), *self._session.get_outputs()]
        found = {
            tensor.name: tuple(tensor.shape[1:])
            for tensor in tensors
            if tensor.type == 'tensor(uint8)'
        }
        inputs = [tensor.name for tensor in self._session.get_inputs()]
        if not expected.items() <= found.items() or inputs != [INPUT]:
            actual = {tensor.name: (tensor.type, tensor.shape) for tensor in tensors}
            raise DgssError(
                f'{bundle.onnx_path} has the tensors {actual}, and a bundle of {bundle.width}x'
                f'{bundle.height} needs uint8 {expected} after the batch; export it again.'
            )


def _short(provider: str) -> str:
    return provider.removesuffix('ExecutionProvider')


def _key(bundle: Bundle, provider: str) -> EngineKey:
    """What the answers depend on: int8 kernels, for one, saturate differently from CPU to CPU."""
    device = processor()
    if provider.startswith('CUDA'):
        from dgss_core.runtime.backends import cuda

        device = cuda.current_device()
    return EngineKey.of(
        bundle,
        device,
        backend='onnxruntime',
        version=ort.__version__,
        batch='any',
        options=_short(provider),
    )


def open_backend(bundle: Bundle, options: BackendOptions) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(bundle, options.threads, report=options.report)
