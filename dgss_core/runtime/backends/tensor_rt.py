"""TensorRT and TensorRT-RTX: engines compiled for the GPU of this machine.

    images -> pinned memory -> GPU -> engine -> GPU -> pinned memory -> arrays

The host copies once into pinned memory and once out of it; everything between is queued at once.
There are two lanes, each with its own context, stream and memory. When two threads call `run`, one
image is uploaded while another is in the network.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from queue import LifoQueue
from types import ModuleType
from typing import Any

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import BackendOptions, Report, closed_error
from dgss_core.runtime.backends import cuda
from dgss_core.runtime.bundle import CONFIDENCE, INPUT, MASK, Bundle
from dgss_core.runtime.engines.build import (
    FLAVOURS,
    MAX_BATCH,
    build_engine,
    engine_key,
    import_flavour,
    make_logger,
)
from dgss_core.runtime.engines.cache import EngineCache
from dgss_core.runtime.engines.progress import every

LANES = 2


class TensorRtBackend:
    """Runs an engine on the GPU; `name` is 'tensorrt' or 'tensorrt_rtx'.

    Takes the engine from `cache` or builds it. `report` takes the progress of a build, and a line
    if CUDA graphs do not work. Raises DgssError without GPU, driver or library, and if the engine
    cannot be built.
    """

    def __init__(self, bundle: Bundle, name: str, cache: EngineCache, report: Report) -> None:
        self.name = name
        self._report = report
        self._trt = import_flavour(name)
        device = cuda.current_device()
        self.key = engine_key(self._trt, bundle, device)
        self.identity = (
            f'{FLAVOURS[name]} {self._trt.__version__}, {device.name} ({device.capability}, '
            f'driver {device.driver}), {bundle.manifest.precision}'
        )
        self._logger = make_logger(self._trt)
        self._runtime = self._trt.Runtime(self._logger)
        self._engine, self.sha256 = self._obtain(bundle, cache)
        self._check_tensors(bundle)
        self._idle: LifoQueue[Lane] = LifoQueue()
        self._lanes: list[Lane] = []
        self._growing = threading.Lock()
        self._is_closed = self._is_without_graphs = False
        self._add_lane()

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        lane = self._take_lane()
        try:
            parts = [
                lane.run(images[start : start + MAX_BATCH])
                for start in range(0, len(images), MAX_BATCH)
            ]
        finally:
            self._idle.put(lane)
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def stages(self, images: np.ndarray) -> dict[str, float]:
        """Seconds on the GPU for at most `MAX_BATCH` images: upload, network, download."""
        lane = self._take_lane()
        try:
            return lane.stages(images)
        finally:
            self._idle.put(lane)

    def close(self) -> None:
        with self._growing:
            self._is_closed = True
            lanes, self._lanes = self._lanes, []
        for _ in lanes:
            # Waits for a call that is running.
            lane = self._idle.get()
            # After a failure of the GPU, CUDA reports it for every call, also for these.
            with suppress(DgssError):
                lane.close()
        self._engine = self._runtime = None

    def _obtain(self, bundle: Bundle, cache: EngineCache) -> tuple[Any, str]:
        """The deserialised engine and its checksum. Rebuilds an engine that TensorRT refuses."""
        report = self._report

        def build() -> bytes:
            report(f'Building the engine of {bundle.identity} for {self.key.device}.')
            return build_engine(self._trt, bundle, progress=every(5, report))

        for _ in range(2):
            data, entry = cache.obtain(self.key, build, report)
            engine = self._runtime.deserialize_cuda_engine(data)
            if engine is not None:
                return engine, entry.sha256 if entry else hashlib.sha256(data).hexdigest()
            if entry is not None:
                report(f'{entry.folder} is refused by {FLAVOURS[self.name]}; rebuilding it.')
                cache.refuse(entry, self.key)
        reason = '; '.join(self._logger.errors) or 'it gives no reason'
        raise DgssError(
            f'{self.identity} refuses an engine that it has just built ({reason}); '
            'use the backend onnxruntime.'
        )

    def _check_tensors(self, bundle: Bundle) -> None:
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        if not {INPUT, MASK, CONFIDENCE} <= set(names):
            raise DgssError(
                f'{bundle.onnx_path} has the tensors {names}, and a bundle needs '
                f'{INPUT}, {MASK} and {CONFIDENCE}; export it again.'
            )

    def _take_lane(self) -> Lane:
        with self._growing:
            if self._is_closed:
                raise closed_error(self.identity)
            if self._idle.empty() and len(self._lanes) < LANES:
                self._add_lane()
        return self._idle.get()

    def _add_lane(self) -> None:
        lane = Lane(self._trt, self._engine, self._report_without_graphs)
        self._lanes.append(lane)
        self._idle.put(lane)

    def _report_without_graphs(self, error: DgssError) -> None:
        if not self._is_without_graphs:  # once, not for each lane
            self._is_without_graphs = True
            reason = str(error).partition(';')[0]
            self._report(
                f'{self.identity} cannot record this network as a CUDA graph ({reason}); '
                'it runs without one, which takes longer.'
            )


class Lane:
    """One execution context with its stream and its memory; for one thread at a time.

    TensorRT-RTX records CUDA graphs by itself. For TensorRT, a lane records the work after the
    second call in a row with the same number of images, and replays it from the third call on.
    `on_unrecorded` takes the error of a network that cannot be recorded.
    """

    def __init__(
        self, trt: ModuleType, engine: Any, on_unrecorded: Callable[[DgssError], Any]
    ) -> None:
        self._records = not hasattr(trt, 'CudaGraphStrategy')
        self._on_unrecorded = on_unrecorded
        self._context = self._make_context(trt, engine)
        if self._context is None:
            raise DgssError(
                'The GPU has no memory for another engine context; close other programs on it, '
                'or use a smaller bundle.'
            )
        self._last_count = 0
        self._graph: Any = None
        self._graph_count = 0
        self._buffers: dict[str, cuda.Buffer] = {}
        with ExitStack() as resources:
            self._stream = cuda.Stream()
            resources.callback(self._stream.close)
            for index in range(engine.num_io_tensors):
                name = engine.get_tensor_name(index)
                shape = (MAX_BATCH, *engine.get_tensor_shape(name)[1:])
                dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
                buffer = self._buffers[name] = cuda.Buffer(shape, dtype)
                resources.callback(buffer.close)
                self._context.set_tensor_address(name, int(buffer.device))
            resources.callback(self._drop_graph)  # called first
            self._resources = resources.pop_all()
        self._input = self._buffers.pop(INPUT)

    @staticmethod
    def _make_context(trt: ModuleType, engine: Any) -> Any:
        if not hasattr(trt, 'CudaGraphStrategy'):
            return engine.create_execution_context()
        config = engine.create_runtime_config()
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return engine.create_execution_context(config)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        count = len(images)
        self._input.host[:count] = images
        if self._graph_count == count:
            self._stream.replay(self._graph)
            return self._outputs(count)
        self._drop_graph()
        self._queue(count)
        outputs = self._outputs(count)
        if self._records and self._last_count == count:
            self._record(count)
        self._last_count = count
        return outputs

    def stages(self, images: np.ndarray) -> dict[str, float]:
        count = len(images)
        self._input.host[:count] = images
        self._drop_graph()
        self._shape(count)
        seconds = self._stream.times(
            lambda: self._input.upload(count, self._stream.handle),
            self._enqueue,
            lambda: self._download(count),
        )
        return dict(zip(('upload', 'network', 'download'), seconds, strict=True))

    def close(self) -> None:
        self._resources.close()
        del self._context

    def _record(self, count: int) -> None:
        try:
            self._graph = self._stream.record(lambda: self._queue(count))
            self._graph_count = count
        except DgssError as error:
            self._records = False
            self._on_unrecorded(error)

    def _drop_graph(self) -> None:
        """Free the graph; it is valid only until its context takes another shape."""
        graph, self._graph, self._graph_count = self._graph, None, 0
        if graph is not None:
            cuda.destroy_graph(graph)

    def _outputs(self, count: int) -> dict[str, np.ndarray]:
        self._stream.wait()
        return {name: buffer.host[:count].copy() for name, buffer in self._buffers.items()}

    def _queue(self, count: int) -> None:
        self._shape(count)
        self._input.upload(count, self._stream.handle)
        self._enqueue()
        self._download(count)

    def _shape(self, count: int) -> None:
        self._context.set_input_shape(INPUT, (count, *self._input.host.shape[1:]))

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(int(self._stream.handle)):
            raise DgssError(
                'TensorRT could not queue its engine; the GPU may be out of memory: close other '
                'programs on it, or use a smaller bundle.'
            )

    def _download(self, count: int) -> None:
        for buffer in self._buffers.values():
            buffer.download(count, self._stream.handle)


def open_backend(bundle: Bundle, options: BackendOptions) -> TensorRtBackend:
    cache = EngineCache(options.cache_dir)
    return TensorRtBackend(bundle, options.name, cache, options.report)
