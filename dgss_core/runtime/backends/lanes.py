"""Lanes of TensorRT: a context, a stream and the memory of one call at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.backends import cuda
from dgss_core.runtime.bundle import INPUT
from dgss_core.runtime.engines.build import (
    MAX_BATCH,
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
