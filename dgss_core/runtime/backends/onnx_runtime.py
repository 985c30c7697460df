"""ONNX Runtime: runs everywhere. On the CPU in fp32 it is the reference for all backends."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import (
    BackendOptions,
    Report,
    check_tensors,
    closed_error,
    first_line,
    silent,
)
from dgss_core.runtime.bundle import INPUT, Bundle
from dgss_core.runtime.engines import RefusedError
from dgss_core.runtime.key import EngineKey, processor

CPU = 'CPUExecutionProvider'
PROVIDERS: dict[str, dict[str, Any]] = {
    # The fastest first. The options keep the precision of the graph.
    'CUDAExecutionProvider': {'use_tf32': 0},
    'OpenVINOExecutionProvider': {'device_type': 'CPU', 'precision': 'ACCURACY'},
    CPU: {},
}
"""Execution providers of ONNX Runtime, used if the installed build has them."""


class OnnxRuntimeBackend:
    """Runs the network of a bundle with the first of `providers` that works here.

    `threads`: CPU threads, 0 for all cores. Raises DgssError if the installed ONNX Runtime has
    none of `providers`, if it cannot load the network, or if the network's tensors are not those
    of a bundle.
    """

    name = 'onnxruntime'

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 0,
        providers: Sequence[str] = tuple(PROVIDERS),
        report: Report = silent,
    ) -> None:
        available = [name for name in providers if name in ort.get_available_providers()]
        if not available:
            raise DgssError(
                f'ONNX Runtime {ort.__version__} has none of the providers '
                f'{", ".join(providers)}; use one of {", ".join(ort.get_available_providers())}.'
            )
        for provider in available:
            session = self._open(bundle, threads, provider)
            used = session.get_providers()[0]
            if used == provider:
                break
            # ONNX Runtime falls back without an error if a GPU or a library is missing.
            report(f'{_short(provider)} of ONNX Runtime does not work here; trying the next.')
        self._check_tensors(session, bundle)
        self._session: ort.InferenceSession | None = session
        self._outputs = [tensor.name for tensor in session.get_outputs()]
        self.device = 'GPU' if used.startswith('CUDA') else 'CPU'
        precision = self.precision = bundle.manifest.precision
        self.identity = f'ONNX Runtime {ort.__version__}, {_short(used)}, {precision}'
        self.key = None if (used, precision) == (CPU, 'fp32') else _key(bundle, used)
        self.sha256, self.network = bundle.fingerprint, bundle.identity

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        session = self._session
        if session is None:
            raise closed_error(self.identity)
        return dict(zip(self._outputs, session.run(None, {INPUT: images}), strict=True))

    def close(self) -> None:
        self._session = None

    @staticmethod
    def _open(bundle: Bundle, threads: int, provider: str) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # What it logs as errors, its exceptions say too.
        # Spinning threads would take the cores from the camera and the middleware.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        providers = [(name, PROVIDERS[name]) for name in dict.fromkeys((provider, CPU))]
        with bundle.checked_network() as path:
            try:
                return ort.InferenceSession(str(path), options, providers=providers)
            # ONNX Runtime's own exception classes share no base but Exception.
            except Exception as error:
                # Refused, not failed: not every processor runs every precision.
                raise RefusedError(
                    f'{bundle.onnx_path} cannot be loaded by ONNX Runtime {ort.__version__}: '
                    f'{first_line(error, path, bundle.onnx_path)}; export the bundle again.'
                ) from error

    @staticmethod
    def _check_tensors(session: ort.InferenceSession, bundle: Bundle) -> None:
        try:
            inputs = [tensor.name for tensor in session.get_inputs()]
            tensors = {
                tensor.name: (_numpy_type(tensor.type), tuple(tensor.shape[1:]))
                for tensor in (*session.get_inputs(), *session.get_outputs())
            }
        except UnicodeDecodeError as error:
            raise DgssError(
                f'{bundle.onnx_path} has a tensor whose name is not UTF-8 ({error}); export it '
                'again.'
            ) from error
        check_tensors(bundle, inputs, tensors)


def _numpy_type(name: str) -> str:
    """'uint8' for 'tensor(uint8)'."""
    return name.removeprefix('tensor(').removesuffix(')')


def _short(provider: str) -> str:
    return provider.removesuffix('ExecutionProvider')


def _key(bundle: Bundle, provider: str) -> EngineKey:
    """What the answers depend on. The CPU counts too: int8 kernels saturate differently."""
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
    # With a call for every core, a call needs no threads beside its own.
    alone = options.lanes >= (options.threads or os.cpu_count() or 1)
    return OnnxRuntimeBackend(bundle, 1 if alone else options.threads, report=options.report)
