"""ONNX Runtime on the CPU: runs everywhere, and is the reference for every other backend."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from dgss_core.bundle import CONFIDENCE, INPUT, MASK, Bundle
from dgss_core.errors import DgssError


class OnnxRuntimeBackend:
    """Runs the network of a bundle on the CPU; see `Backend` for the contract of `run`."""

    name = 'onnxruntime'

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Threads that spin between two images take the cores from the camera and the middleware.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        try:
            self._session = ort.InferenceSession(
                str(bundle.onnx_path), options, providers=['CPUExecutionProvider']
            )
        # ONNX Runtime's own exception classes share no base but Exception.
        except Exception as error:
            raise DgssError(
                f'{bundle.onnx_path} cannot be loaded by ONNX Runtime {ort.__version__}: '
                f'{str(error).splitlines()[0]}; export the bundle again.'
            ) from error
        self._check_tensors(bundle)

        self._outputs = [tensor.name for tensor in self._session.get_outputs()]
        self.identity = f'ONNX Runtime {ort.__version__}, CPU'

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self._outputs, self._session.run(None, {INPUT: images}), strict=True))

    def close(self) -> None:
        del self._session

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
        if not expected.items() <= found.items() or [
            t.name for t in self._session.get_inputs()
        ] != [INPUT]:
            actual = {tensor.name: (tensor.type, tensor.shape) for tensor in tensors}
            raise DgssError(
                f'{bundle.onnx_path} has the tensors {actual}, and a bundle of {bundle.width}x'
                f'{bundle.height} needs uint8 {expected} after the batch; export it again.'
            )
