"""TensorRT and TensorRT-RTX: engines compiled for the GPU of this machine.

    images -> pinned memory -> GPU -> engine -> GPU -> pinned memory -> arrays

The host copies once into pinned memory and once out of it; everything between is queued at once.
A lane has its own context, stream and memory, and serves one call at a time. All lanes are made
when the engine is loaded. With two, one image is uploaded while another is in the network.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from queue import Empty, LifoQueue
from typing import Any

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import BackendOptions, Report, check_tensors, closed_error
from dgss_core.runtime.backends import cuda
from dgss_core.runtime.backends.lanes import Lane
from dgss_core.runtime.bundle import Bundle
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

MAX_LANES = 2
"""More do not make a GPU faster, and each takes memory."""


class TensorRtBackend:
    """Runs an engine on the GPU; `name` is 'tensorrt' or 'tensorrt_rtx'.

    Takes the engine from `cache` or builds it. `report` takes the progress of a build, and a line
    if CUDA graphs do not work or the memory is too small for all `lanes`. Raises DgssError without
    GPU, driver or library, and if the engine cannot be built.
    """

    device = 'GPU'

    def __init__(
        self, bundle: Bundle, name: str, cache: EngineCache, report: Report, lanes: int = 1
    ) -> None:
        self.name, self.network = name, bundle.identity
        self.precision = bundle.manifest.precision
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
        # None, after `close`, wakes every call that waits for a lane.
        self._idle: LifoQueue[Lane | None] = LifoQueue()
        self._lanes: list[Lane] = []
        self._growing = threading.Lock()
        self._is_closed = self._is_without_graphs = False
        self._add_lane()
        self._add_lanes(min(lanes, MAX_LANES))

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        lane = self._take_lane()
        try:
            parts = [
                lane.run(images[start : start + MAX_BATCH])
                for start in range(0, len(images), MAX_BATCH)
            ]
        finally:
            self._give_back(lane)
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def stages(self, images: np.ndarray) -> dict[str, float]:
        """Seconds on the GPU for at most `MAX_BATCH` images: upload, network, download."""
        lane = self._take_lane()
        try:
            return lane.stages(images)
        finally:
            self._give_back(lane)

    def launches(self, images: np.ndarray) -> int:
        """The layers of the engine; TensorRT runs each as about one kernel."""
        parts = -(-len(images) // MAX_BATCH)
        return parts * self._engine.num_layers

    def close(self) -> None:
        """Free every lane; one that still runs is freed when its call ends, without a wait."""
        with self._growing:
            if self._is_closed:
                return
            self._is_closed = True
            self._lanes = []
            with suppress(Empty):
                while True:
                    _free(self._idle.get_nowait())
            self._idle.put(None)
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
        engine, tensors = self._engine, {}
        for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
            kind = np.dtype(self._trt.nptype(engine.get_tensor_dtype(name))).name
            tensors[name] = (kind, tuple(engine.get_tensor_shape(name))[1:])
        inputs = [n for n in tensors if engine.get_tensor_mode(n) == self._trt.TensorIOMode.INPUT]
        check_tensors(bundle, inputs, tensors)

    def _take_lane(self) -> Lane:
        if self._is_closed:
            raise closed_error(self.identity)
        lane = self._idle.get()
        if lane is None:
            self._idle.put(None)
            raise closed_error(self.identity)
        return lane

    def _give_back(self, lane: Lane) -> None:
        with self._growing:
            if self._is_closed:
                _free(lane)
            else:
                self._idle.put(lane)

    def _add_lanes(self, count: int) -> None:
        """Make lanes until there are `count`, or no memory for another."""
        try:
            while len(self._lanes) < count:
                self._add_lane()
        except DgssError as error:
            self._report(
                f'{self.identity} runs {len(self._lanes)} calls at once instead of {count}: '
                f'{error}'
            )

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


def _free(lane: Lane | None) -> None:
    # After a failure of the GPU, CUDA reports it for every call, also for these.
    with suppress(DgssError):
        if lane is not None:
            lane.close()


def open_backend(bundle: Bundle, options: BackendOptions) -> TensorRtBackend:
    name, cache = options.name, EngineCache(options.cache_dir)
    return TensorRtBackend(bundle, name, cache, options.report, options.lanes)
