"""The roof of a run of `dgss bench model`: that of the device it ran on, or why there is none."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import Backend, CountedBackend, PlacedBackend
from dgss_core.runtime.bundle import Bundle, open_higher
from dgss_core.runtime.roofline import Layer, Machine, Roof, layers_of, measure_cpu, nodes_of
from dgss_core.runtime.roofline.chains import Clock, measure

CUDA = 'CUDAExecutionProvider'
CLOCKS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    'onnxruntime': ('dgss_core.runtime.roofline.onnx_clock', 'OnnxClock', (CUDA,)),
    'tensorrt': ('dgss_core.runtime.roofline.tensorrt_clock', 'TensorRtClock', ('tensorrt',)),
    'tensorrt_rtx': (
        'dgss_core.runtime.roofline.tensorrt_clock',
        'TensorRtClock',
        ('tensorrt_rtx',),
    ),
    'torch': ('dgss_core.export.torch_clock', 'TorchClock', ()),
}
"""The clock of each backend that runs on GPUs: its module, its class and its arguments."""


class Rooflines:
    """Measures each device, and counts the layers of each bundle, once; also one that fails."""

    def __init__(self, batch: int, threads: int) -> None:
        self._batch, self._threads = batch, threads
        self._machines: dict[str, Machine | DgssError] = {}
        self._layers: dict[str, list[Layer]] = {}

    def of(self, backend: Backend, bundle: Bundle, images: Any, seconds: float) -> dict[str, Any]:
        """The roof of a call of `seconds`, with what bounds it; or only the reason for none.

        The CPU is measured in fp32, whatever the backend computes in.
        """
        try:
            if not isinstance(backend, PlacedBackend):
                raise DgssError(f'{backend.name} does not say what it computes on')
            is_cpu = backend.device == 'CPU'
            machine = self._machine('CPU' if is_cpu else backend.name.partition(':')[0])
            nodes = None if is_cpu else self._nodes(backend, bundle, images)
            precision = 'fp32' if is_cpu else backend.precision
            layers = self._layers_of(bundle)
            roof = Roof.of(layers, machine, precision, nodes)
        except DgssError as error:
            return {'reason': str(error).rstrip('.')}
        return {
            'device': backend.device,
            'measured': machine.name,
            'precision': precision,
            'computes_in': backend.precision,
            'giga_operations': sum(layer.operations for layer in layers) / 1e9,
            'copy_gb_per_s': machine.copy / 1e9,
            'gemm_gflop_per_s': {name: rate / 1e9 for name, rate in machine.gemm.items()},
            'launch_us': machine.launch and machine.launch * 1e6,
            'launches': nodes,
            'arithmetic_ms': roof.arithmetic * 1e3,
            'bytes_ms': roof.traffic * 1e3,
            'launches_ms': roof.launches and roof.launches * 1e3,
            'bound_ms': roof.seconds * 1e3,
            'share': roof.seconds / seconds,
            'bound_by': roof.limit(seconds),
        }

    def _machine(self, kind: str) -> Machine:
        if kind not in self._machines:
            try:
                measured = measure_cpu(self._threads) if kind == 'CPU' else measure(clock_of(kind))
                self._machines[kind] = measured
            except DgssError as error:
                self._machines[kind] = error
        found = self._machines[kind]
        if isinstance(found, DgssError):
            raise found
        return found

    def _layers_of(self, bundle: Bundle) -> list[Layer]:
        if bundle.identity not in self._layers:
            # Not every precision runs on the CPU, which counts.
            plain = open_higher(bundle, 'fp32') or bundle
            self._layers[bundle.identity] = layers_of(plain, self._batch)
        return self._layers[bundle.identity]

    def _nodes(self, backend: Backend, bundle: Bundle, images: Any) -> int | None:
        if isinstance(backend, CountedBackend):
            return backend.launches(images)
        from dgss_core.runtime.backends.onnx_runtime import PROVIDERS

        return nodes_of(bundle, self._batch, CUDA, PROVIDERS[CUDA])


def clock_of(kind: str) -> Clock:
    """The clock of a backend on its GPU. Raises DgssError where there is none that works."""
    if kind not in CLOCKS:
        raise DgssError(f'no rates of a GPU can be measured with {kind}')
    module, name, arguments = CLOCKS[kind]
    try:
        make: Callable[..., Clock] = getattr(import_module(module), name)
    except ImportError as error:
        raise DgssError(f'what measures a GPU with {kind} is not installed ({error})') from error
    return make(*arguments)
