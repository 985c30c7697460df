"""TensorRT and TensorRT-RTX: engines compiled for the GPU of this machine.

    images -> pinned memory -> GPU -> engine -> GPU -> pinned memory -> arrays

One copy by the host into pinned memory and one out of it; everything between is queued at once.
Two lanes, each with its own context, stream and memory, let one image be uploaded while another
is in the network, whenever two threads call `run`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import ExitStack
from queue import LifoQueue
from types import ModuleType
from typing import Any

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import BackendOptions
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

    Finds the engine in `cache` or builds it; `report` takes the lines that tell how far a build
    is. Raises DgssError without GPU, driver or library, or when the engine cannot be built.
    """

    def __init__(
        self, bundle: Bundle, name: str, cache: EngineCache, report: Callable[[str], Any]
    ) -> None:
        self.name = name
        self._trt = import_flavour(name)
        device = cuda.current_device()
        self.key = engine_key(self._trt, bundle, device)
        self.identity = (
            f'{FLAVOURS[name]} {self._trt.__version__}, {device.name} ({device.capability}, '
            f'driver {device.driver}), {bundle.manifest.precision}'
        )
        self._logger = make_logger(self._trt)
        self._runtime = self._trt.Runtime(self._logger)
        self._engine, self.sha256 = self._obtain(bundle, cache, report)
        self._check_tensors(bundle)
        self._idle: LifoQueue[Lane] = LifoQueue()
        self._lanes: list[Lane] = []
        self._growing = threading.Lock()
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
        for _ in self._lanes:
            self._idle.get().close()
        self._lanes.clear()
        del self._engine, self._runtime

    def _obtain(
        self, bundle: Bundle, cache: EngineCache, report: Callable[[str], Any]
    ) -> tuple[Any, str]:
        """The deserialised engine and its checksum; one that TensorRT refuses is built anew."""

        def build() -> bytes:
            report(f'Building the engine of {bundle.identity} for {self.key.device}.')
            return build_engine(self._trt, bundle, watch=every(5, report))

        for _ in range(2):
            data, entry = cache.obtain(self.key, build, report)
            engine = self._runtime.deserialize_cuda_engine(data)
            if engine is not None:
                return engine, entry.sha256 if entry else hashlib.sha256(data).hexdigest()
            if entry is not None:
                report(f'{entry.folder} is refused by {FLAVOURS[self.name]}; building it anew.')
                cache.refuse(entry, self.key)
        said = '; '.join(self._logger.errors) or 'it gives no reason'
        raise DgssError(
            f'{self.identity} refuses an engine that it has just built ({said}); '
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
            if self._idle.empty() and len(self._lanes) < LANES:
                self._add_lane()
        return self._idle.get()

    def _add_lane(self) -> None:
        lane = Lane(self._trt, self._engine)
        self._lanes.append(lane)
        self._idle.put(lane)


class Lane:
    """One execution context with its stream and its memory; for one thread at a time.

    TensorRT-RTX records CUDA graphs by itself. For TensorRT the work on a number of images is
    recorded when that number comes the second time in turn, and then queued in one call.
    """

    def __init__(self, trt: ModuleType, engine: Any) -> None:
        self._records = not hasattr(trt, 'CudaGraphStrategy')
        self._context = self._make_context(trt, engine)
        if self._context is None:
            raise DgssError(
                'The GPU has no memory for another engine context; close other programs on it, '
                'or use a smaller bundle.'
            )
        self._count = 0
        self._graph: Any = None
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
        repeated = count == self._count
        self._input.host[:count] = images
        if repeated and self._graph is not None:
            self._stream.replay(self._graph)
        else:
            self._drop_graph()
            self._queue(count)
        self._stream.wait()
        outputs = {name: buffer.host[:count].copy() for name, buffer in self._buffers.items()}
        if self._records and repeated and self._graph is None:
            self._record(count)
        self._count = count
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
        self._drop_graph()
        self._resources.close()
        del self._context

    def _record(self, count: int) -> None:
        try:
            self._graph = self._stream.record(lambda: self._queue(count))
        except DgssError:
            # Some networks cannot be recorded: they are queued step by step every time.
            self._records = False

    def _drop_graph(self) -> None:
        """A graph is valid only until its context takes another shape."""
        if self._graph is not None:
            cuda.destroy_graph(self._graph)
        self._graph, self._count = None, 0

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
