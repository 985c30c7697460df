"""The lanes of the TensorRT backend, with a stand-in for CUDA: no GPU is needed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import LifoQueue
from threading import Barrier, Event, Lock
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip('cuda.bindings', reason='needs pip install cuda-python')
from dgss_core.errors import DgssError
from dgss_core.runtime.backends import cuda as real_cuda
from dgss_core.runtime.backends import lanes, tensor_rt
from dgss_core.runtime.backends.lanes import MAX_BATCH, Lane
from dgss_core.runtime.backends.tensor_rt import TensorRtBackend
from dgss_core.runtime.bundle import INPUT, MASK

SHAPES = {INPUT: (-1, 2, 2, 3), MASK: (-1, 2, 2)}
TRT = SimpleNamespace(nptype=lambda dtype: dtype)


class Stream:
    """Counts what is queued, recorded and replayed."""

    handle = 0
    records = True

    def __init__(self) -> None:
        self.calls: list[str] = []

    def record(self, work: Callable[[], None]) -> str:
        self.calls.append('record')
        if not self.records:
            raise DgssError('CUDA failed: not permitted (name); restart the program.')
        return 'graph'

    def replay(self, graph: str) -> None:
        self.calls.append('replay')

    def wait(self) -> None: ...

    def close(self) -> None: ...


class Buffer:
    device = 0

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.host = np.zeros(shape, dtype)

    def upload(self, count: int, stream: Any) -> None: ...

    def download(self, count: int, stream: Any) -> None: ...

    def close(self) -> None: ...


class Engine:
    """An engine whose context counts the calls of the network on the stream of its lane."""

    num_io_tensors = len(SHAPES)

    def __init__(self) -> None:
        self.queued = 0

    def get_tensor_name(self, index: int) -> str:
        return list(SHAPES)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return SHAPES[name]

    def get_tensor_dtype(self, name: str) -> type:
        return np.uint8

    def create_execution_context(self) -> Any:
        def execute(stream: int) -> bool:
            self.queued += 1
            return True

        return SimpleNamespace(
            set_tensor_address=lambda name, address: None,
            set_input_shape=lambda name, shape: None,
            execute_async_v3=execute,
        )


@pytest.fixture(autouse=True)
def cuda(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    fake = SimpleNamespace(Stream=Stream, Buffer=Buffer, destroy_graph=lambda graph: None)
    for module in (lanes, tensor_rt):
        monkeypatch.setattr(module, 'cuda', fake)
    return fake


def run(lane: Lane, *counts: int) -> list[str]:
    """The calls of the stream while images are run in batches of `counts`."""
    lane._stream.calls.clear()
    for count in counts:
        images = np.full((count, 2, 2, 3), count, np.uint8)
        assert lane.run(images)[MASK].shape == (count, 2, 2)
    return lane._stream.calls


def test_the_third_call_in_a_row_replays_a_graph() -> None:
    engine = Engine()
    lane = Lane(TRT, engine, pytest.fail)
    assert run(lane, 1, 1, 1, 1) == ['record', 'replay', 'replay']
    assert engine.queued == 2
    assert run(lane, 3, 1, 3, 1) == []
    assert run(lane, 1, 1, 3) == ['record', 'replay']
    assert engine.queued == 2 + 4 + 1 + 1


def backend() -> TensorRtBackend:
    """A backend with one lane, without the engine cache and the library."""
    made = object.__new__(TensorRtBackend)
    made.identity, made._trt, made._engine = 'TensorRT 10', TRT, Engine()
    made._idle, made._lanes, made._growing = LifoQueue(), [], Lock()
    made._is_closed = made._is_without_graphs = False
    made._add_lane()
    return made


def test_a_network_that_cannot_be_recorded_is_reported_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Stream, 'records', False)
    lines: list[str] = []
    made = backend()
    made._report = lines.append
    made._add_lane()
    for lane in made._lanes:
        assert run(lane, 1, 1, 1, 1) == ['record']
    assert lines == [
        'TensorRT 10 cannot record this network as a CUDA graph (CUDA failed: not permitted '
        '(name)); it runs without one, which takes longer.'
    ]


@pytest.mark.parametrize('fault', [None, DgssError('CUDA failed')])
def test_closing_twice_does_nothing_also_after_a_fault(
    cuda: SimpleNamespace, fault: DgssError | None
) -> None:
    def destroy(graph: str) -> None:
        if fault:
            raise fault

    cuda.destroy_graph = destroy
    made = backend()
    images = np.zeros((MAX_BATCH + 1, 2, 2, 3), np.uint8)
    assert made.run(images)[MASK].shape == (MAX_BATCH + 1, 2, 2)
    run(made._lanes[0], 1, 1, 1)
    for _ in range(2):
        made.close()
        with pytest.raises(RuntimeError, match=r'TensorRT 10 was closed'):
            made.run(images)


def test_closing_does_not_wait_for_a_call_and_ends_those_that_wait_for_a_lane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One call runs and two wait for its lane while the backend is closed."""
    runs, ends, closed = Event(), Event(), []

    def wait(self: Stream) -> None:
        runs.set()
        assert ends.wait(60)

    monkeypatch.setattr(Stream, 'wait', wait)
    monkeypatch.setattr(Stream, 'close', lambda self: closed.append(self))
    made = backend()
    images = np.zeros((1, 2, 2, 3), np.uint8)
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(made.run, images)
        assert runs.wait(60)
        waiting = [pool.submit(made.run, images) for _ in range(2)]
        made.close()
        made.close()
        for call in waiting:
            with pytest.raises(RuntimeError, match=r'TensorRT 10 was closed'):
                call.result(60)
        assert closed == []
        ends.set()
        assert running.result(60)[MASK].shape == (1, 2, 2)
    assert len(closed) == 1


def test_no_lane_is_made_during_the_drive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three calls at once share the two lanes that were made when the engine was loaded."""
    made, full = backend(), Barrier(2)
    made._add_lanes(2)
    monkeypatch.setattr(tensor_rt, 'Lane', pytest.fail)
    monkeypatch.setattr(Stream, 'wait', lambda self: full.wait(60))
    images = np.zeros((1, 2, 2, 3), np.uint8)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(made.run, images) for _ in range(4)]
        assert [call.result(60)[MASK].shape for call in calls] == [(1, 2, 2)] * 4


def test_too_little_memory_for_the_second_lane_is_reported_at_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, lines = backend(), []
    made._report = lines.append

    def full(*_: Any) -> Any:
        raise DgssError('The GPU is out of memory; close other programs on it.')

    monkeypatch.setattr(tensor_rt, 'Lane', full)
    made._add_lanes(2)
    assert lines == [
        'TensorRT 10 runs 1 calls at once instead of 2: The GPU is out of memory; close other '
        'programs on it.'
    ]
    assert made.run(np.zeros((1, 2, 2, 3), np.uint8))[MASK].shape == (1, 2, 2)


class Allocations:
    """Stands in for the CUDA runtime: counts what is allocated; `failing` is a call that fails."""

    def __init__(self, failing: str) -> None:
        self.failing, self.held, self.memory = failing, [], {}

    def __getattr__(self, name: str) -> Callable[..., tuple]:
        def call(*arguments: Any) -> tuple:
            if name == self.failing:
                return (real_cuda.cudart.cudaError_t.cudaErrorMemoryAllocation, None)
            if name in ('cudaMalloc', 'cudaMallocHost'):
                block = ctypes.create_string_buffer(arguments[0])
                address = ctypes.addressof(block)
                self.memory[address] = block
                self.held.append((name, address))
                return (real_cuda.cudart.cudaError_t.cudaSuccess, address)
            if name in ('cudaFree', 'cudaFreeHost'):
                self.held.remove((name.replace('Free', 'Malloc'), arguments[0]))
            return (real_cuda.cudart.cudaError_t.cudaSuccess, name)

        return call


@pytest.mark.parametrize('failing', ['cudaMallocHost', 'cudaFree', 'cudaFreeHost'])
def test_no_memory_is_lost_when_a_call_fails(
    monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    fake, real = Allocations(failing), real_cuda.cudart
    names = ('cudaMalloc', 'cudaMallocHost', 'cudaFree', 'cudaFreeHost')
    functions = {name: getattr(fake, name) for name in names}
    monkeypatch.setattr(real_cuda, 'cudart', SimpleNamespace(**vars(real) | functions))
    with pytest.raises(DgssError, match='out of memory'):
        real_cuda.Buffer((4, 2), np.dtype(np.uint8)).close()
    left = {'cudaFree': ['cudaMalloc'], 'cudaFreeHost': ['cudaMallocHost']}
    assert [name for name, _ in fake.held] == left.get(failing, [])


def test_a_graph_that_cannot_be_instantiated_is_destroyed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, destroyed = real_cuda.cudart, []
    success = real.cudaError_t.cudaSuccess
    functions = {
        'cudaStreamCreateWithFlags': lambda flags: (success, 'stream'),
        'cudaStreamBeginCapture': lambda *_: (success,),
        'cudaStreamEndCapture': lambda stream: (success, 'graph'),
        'cudaGraphInstantiate': lambda *_: (real.cudaError_t.cudaErrorMemoryAllocation, None),
        'cudaGraphDestroy': lambda graph: (success, destroyed.append(graph)),
    }
    monkeypatch.setattr(real_cuda, 'cudart', SimpleNamespace(**vars(real) | functions))
    with pytest.raises(DgssError, match='out of memory'):
        real_cuda.Stream().record(lambda: None)
    assert destroyed == ['graph']
