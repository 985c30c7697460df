"""The CUDA calls that the TensorRT backends need, through cuda-python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import unusable_library
from dgss_core.runtime.engines import AbsentError
from dgss_core.runtime.key import Device, nvidia_driver

try:
    from cuda.bindings import runtime as cudart
except ImportError as error:
    raise unusable_library('cuda-python', 'cuda-python', error) from error


DRIVER = Path('/proc/driver/nvidia')
"""What a loaded driver of NVIDIA makes."""


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of a CUDA call; raise DgssError if CUDA reports an error."""
    status, *results = function(*arguments)
    if status != cudart.cudaError_t.cudaSuccess:
        raise _error(status)
    return results[0] if results else None


def current_device() -> Device:
    """The GPU that CUDA uses. Raises DgssError without a GPU or a driver."""
    if call(cudart.cudaGetDeviceCount) == 0:
        raise _error(cudart.cudaError_t.cudaErrorNoDevice)
    properties = call(cudart.cudaGetDeviceProperties, call(cudart.cudaGetDevice))
    offered = call(cudart.cudaDriverGetVersion)
    return Device(
        properties.name.decode(),
        f'{properties.major}.{properties.minor}',
        f'{nvidia_driver()}, CUDA {offered // 1000}.{offered % 1000 // 10}',
    )


def used_memory() -> int:
    """Bytes of GPU memory in use by all processes together."""
    status, free, total = cudart.cudaMemGetInfo()
    if status != cudart.cudaError_t.cudaSuccess:
        raise _error(status)
    return int(total - free)


class Buffer:
    """Memory for one tensor on the GPU, and page-locked memory for it on the host.

    `host`: an array of `shape` and `dtype` in the page-locked memory, which the GPU copies from
    and to directly.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        size = int(np.prod(shape)) * dtype.itemsize
        with ExitStack() as memory:
            self.device = call(cudart.cudaMalloc, size)
            memory.callback(call, cudart.cudaFree, self.device)
            self._pinned = call(cudart.cudaMallocHost, size)
            memory.callback(call, cudart.cudaFreeHost, self._pinned)
            self._memory = memory.pop_all()
        pinned = (ctypes.c_byte * size).from_address(int(self._pinned))
        self.host = np.ctypeslib.as_array(pinned).view(dtype).reshape(shape)

    def upload(self, count: int, stream: Any) -> None:
        """Queue a copy of the first `count` rows of `host` to the GPU on `stream`."""
        self._copy(self.device, self._pinned, 'cudaMemcpyHostToDevice', count, stream)

    def download(self, count: int, stream: Any) -> None:
        """Queue a copy of the first `count` rows back into `host` on `stream`."""
        self._copy(self._pinned, self.device, 'cudaMemcpyDeviceToHost', count, stream)

    def _copy(self, to: Any, source: Any, kind: str, count: int, stream: Any) -> None:
        size = self.host[:count].nbytes
        kind = getattr(cudart.cudaMemcpyKind, kind)
        call(cudart.cudaMemcpyAsync, to, source, size, kind, stream)

    def close(self) -> None:
        del self.host
        self._memory.close()  # frees the second also if the first fails


class Stream:
    """A queue of work on the GPU."""

    def __init__(self) -> None:
        self.handle = call(cudart.cudaStreamCreateWithFlags, cudart.cudaStreamNonBlocking)

    def wait(self) -> None:
        """Wait until all queued work is done. Raises DgssError if any of it failed."""
        call(cudart.cudaStreamSynchronize, self.handle)

    def record(self, work: Callable[[], None]) -> Any:
        """Record what `work` queues as a graph, which `replay` queues again in one call."""
        # Thread-local mode allows other threads to allocate memory during the recording.
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(cudart.cudaStreamBeginCapture, self.handle, mode)
        try:
            work()
        finally:
            graph = call(cudart.cudaStreamEndCapture, self.handle)
        try:
            return call(cudart.cudaGraphInstantiate, graph, 0)
        finally:
            call(cudart.cudaGraphDestroy, graph)

    def replay(self, graph: Any) -> None:
        call(cudart.cudaGraphLaunch, graph, self.handle)

    def times(self, *steps: Callable[[], None]) -> list[float]:
        """Run `steps` one after the other; return the seconds of each on the GPU."""
        with ExitStack() as made:
            events = []
            for _ in range(len(steps) + 1):
                events.append(call(cudart.cudaEventCreate))
                made.callback(call, cudart.cudaEventDestroy, events[-1])
            call(cudart.cudaEventRecord, events[0], self.handle)
            for step, event in zip(steps, events[1:], strict=True):
                step()
                call(cudart.cudaEventRecord, event, self.handle)
            self.wait()
            return [call(cudart.cudaEventElapsedTime, *pair) / 1e3 for pair in pairwise(events)]

    def close(self) -> None:
        call(cudart.cudaStreamDestroy, self.handle)


def destroy_graph(graph: Any) -> None:
    call(cudart.cudaGraphExecDestroy, graph)


def _error(status: Any) -> DgssError:
    """The error for a status. A GPU whose driver is loaded and does not work is not absent."""
    error = cudart.cudaError_t
    absent = (error.cudaErrorInsufficientDriver, error.cudaErrorNoDevice)
    if status in absent and not DRIVER.exists():
        return AbsentError(_message(status))
    return DgssError(_message(status))


def _message(status: Any) -> str:
    error = cudart.cudaError_t
    if status == error.cudaErrorInsufficientDriver:
        return (
            'There is no NVIDIA driver, or it is older than CUDA '
            f'{cudart.CUDART_VERSION // 1000}; install a current driver, or use the backend '
            'onnxruntime.'
        )
    if status in (error.cudaErrorNoDevice, error.cudaErrorInvalidDevice):
        return 'CUDA finds no NVIDIA GPU; connect one, or use the backend onnxruntime.'
    if status == error.cudaErrorMemoryAllocation:
        return (
            'The GPU is out of memory; close other programs on it, send fewer images at a time, '
            'or use a smaller bundle.'
        )
    text = cudart.cudaGetErrorString(status)[1]
    return f'CUDA failed: {text.decode()} ({status.name}); restart the program.'
