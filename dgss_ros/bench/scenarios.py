"""The measurements, one function per scenario of `dgss bench node`."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dgss_core.commands.progress import with_progress
from dgss_ros.bench.peers import bare_echo, bare_model, bare_planes, peer
from dgss_ros.bench.report import BenchReport, Figure
from dgss_ros.bench.streams import Stream, play, street
from dgss_ros.client.process import ActiveNode, active_node, cpu_seconds, resident_mib

IMAGE_TOPIC = '/bench/image'
MASK, CONFIDENCE = '/dgss/mask', '/dgss/confidence'
TURNS = 10
"""The compared programs take turns, so that other load on the machine affects all of them."""
CAMERAS = ('front', 'left', 'right', 'rear')
WARM_UP = 0.2
"""First part of a run, in which memory may still grow to its level."""


@dataclass(frozen=True)
class Load:
    """`frames` per camera at `rate` per second; at rate 0 each frame waits for the last answer."""

    width: int
    height: int
    frames: int
    rate: float
    bundle: Path | None


def model(load: Load) -> BenchReport:
    """Compare the round trip of a frame through the node with the bare call of its model."""
    images = street(load.width, load.height)
    trips: list[float] = []
    calls: list[float] = []
    with _node(load) as live, peer(bare_model, load.bundle, images) as bare:
        stream = Stream(live.ros, images, IMAGE_TOPIC, [MASK], live.check)
        stream.connect()
        for _ in with_progress(range(TURNS), 'Measuring in turns', TURNS):
            trips += _trips(stream, load)
            live.lifecycle.deactivate()
            bare.connection.send((load.frames // TURNS, load.rate))
            calls += bare.connection.recv()
            live.activate()
            stream.connect()
    answered = [trip for trip in trips if not np.isnan(trip)]
    return BenchReport(
        {'round_trip_ms': answered, 'bare_model_ms': calls},
        [
            Figure('ratio', float(np.median(answered) / np.median(calls)), target=1.5),
            Figure('frames', len(trips)),
            Figure('lost', len(trips) - len(answered)),
        ],
    )


@dataclass
class Program:
    """A process that answers a stream. `cpu_s`: its CPU time during `play`, in seconds."""

    pid: int
    stream: Stream
    cpu_s: float = 0.0

    def play(self, count: int, rate: float) -> None:
        """Raises DgssError if the process ends."""
        before = self._cpu_seconds()
        _finish(play([self.stream], count, rate))
        self.cpu_s += self._cpu_seconds() - before

    def _cpu_seconds(self) -> float:
        self.stream.check()
        return cpu_seconds(self.pid)

    @property
    def median_ms(self) -> float:
        return float(np.median(self.stream.latencies)) * 1e3

    @property
    def cpu_ms_per_frame(self) -> float:
        """CPU time of the whole process per frame, with all that it does besides."""
        return self.cpu_s / len(self.stream.sent) * 1e3


def passthrough(load: Load) -> BenchReport:
    """Compare the node with bare rclpy nodes: image in, mask and confidence out, no model."""
    images = street(load.width, load.height)
    back, pair = ['/bench/echo/back'], ['/bench/planes/mask', '/bench/planes/confidence']
    with (
        _node(load, backend='null') as live,
        peer(bare_echo, '/bench/echo') as bare,
        peer(bare_planes, '/bench/planes', load.width, load.height) as ready,
    ):
        node, echo, planes = (
            Program(pid, Stream(live.ros, images, topic, answers, *check))
            for pid, topic, answers, *check in (
                (live.process.pid, IMAGE_TOPIC, [MASK, CONFIDENCE], live.check),
                (bare.pid, '/bench/echo', back),
                (ready.pid, '/bench/planes', pair),
            )
        )
        programs = {'round_trip_ms': node, 'bare_echo_ms': echo, 'bare_planes_ms': planes}
        for program in programs.values():
            program.stream.connect()
        for _ in with_progress(range(TURNS), 'Measuring in turns', TURNS):
            for program in programs.values():
                program.play(load.frames // TURNS, load.rate)
    delivered = len(node.stream.latencies) / len(node.stream.sent)
    return BenchReport(
        {key: program.stream.latencies for key, program in programs.items()},
        [
            Figure('median_round_trip_ms', node.median_ms, target=6.5),
            Figure('delivered_share', delivered, target=1.0, at_least=True),
            Figure('ratio_to_echo', node.median_ms / echo.median_ms, target=1.3),
            Figure('ratio_to_planes', node.median_ms / planes.median_ms, target=1.25),
            Figure('cpu_ms_per_frame', node.cpu_ms_per_frame),
            Figure('cpu_ratio_to_planes', node.cpu_ms_per_frame / planes.cpu_ms_per_frame),
        ],
    )


def cameras(load: Load) -> BenchReport:
    """Measure four cameras with 20 ms of inference and two workers.

    Two cameras wait for the other two, so the median age of all frames lies between the medians of
    the pairs; `mean_of_medians_ms` averages the medians of the cameras. The first second is not
    counted.
    """
    images = street(load.width, load.height)
    names = f'[{",".join(CAMERAS)}]'
    with _node(load, cameras=names, backend='null:20', workers=2) as live:
        streams = {
            name: Stream(
                live.ros, images, f'/dgss/{name}/image', [f'/dgss/{name}/mask'], live.check
            )
            for name in CAMERAS
        }
        for stream in streams.values():
            stream.connect()
        _finish(play([*streams.values()], max(1, int(load.rate)), load.rate))  # warm-up
        for stream in streams.values():
            stream.sent.clear()
        shown = with_progress(
            play([*streams.values()], load.frames, load.rate), 'Driving', load.frames
        )
        _finish(shown)
    counts = [len(stream.latencies) for stream in streams.values()]
    seconds = load.frames / load.rate
    ages = [stream.latencies for stream in streams.values()]
    unfairness = (max(counts) - min(counts)) / max(counts)
    least_rate = 0.99 * load.rate
    return BenchReport(
        {f'{name}_age_ms': stream.latencies for name, stream in streams.items()},
        [
            Figure('least_rate_hz', min(counts) / seconds, target=least_rate, at_least=True),
            Figure('unfairness', unfairness, target=0.05),
            Figure('median_age_ms', float(np.median(np.concatenate(ages))) * 1e3, target=40.0),
            Figure('mean_of_medians_ms', float(np.mean([np.median(a) for a in ages])) * 1e3),
        ],
        streams,
    )


def overload(load: Load) -> BenchReport:
    """Measure the age of masks and the memory with far more frames than the model can take."""
    memory: list[tuple[float, float]] = []
    with _node(load, backend='null:100') as live:
        images = street(load.width, load.height)
        stream = Stream(live.ros, images, IMAGE_TOPIC, [MASK], live.check)
        stream.connect()
        frames = play([stream], load.frames, load.rate)
        for index in with_progress(frames, 'Overloading', load.frames):
            if index % max(1, load.frames // 100) == 0:
                memory.append((time.perf_counter(), resident_mib(live.process.pid)))
    times = np.array([start for s, start in stream.sent.items() if s in stream.answered])
    ages = stream.latencies
    seconds = float(times[-1] - times[0])
    drift = _change(times, ages)
    growth = _change(*np.transpose(memory[int(WARM_UP * len(memory)) :]))
    return BenchReport(
        {'age_ms': ages},
        [
            Figure('age_drift_share', abs(drift) / float(np.median(ages)), target=0.05),
            Figure('memory_growth_mib', growth, target=5.0),
            Figure('masks_per_second', (len(ages) - 1) / seconds),
            Figure('minutes', seconds / 60),
        ],
        {'node': stream},
    )


@dataclass(frozen=True)
class Scenario:
    """A measurement and its default load."""

    measure: Callable[[Load], BenchReport]
    size: str
    rate: float
    frames: int


SCENARIOS = {
    'model': Scenario(model, '640x360', 0, 200),
    'passthrough': Scenario(passthrough, '1280x720', 30, 300),
    'cameras': Scenario(cameras, '640x480', 15, 150),
    'overload': Scenario(overload, '640x360', 60, 1800),
}


@contextmanager
def _node(load: Load, **parameters: object) -> Iterator[ActiveNode]:
    """A node in its own process. The folder of its log stays if it ends by itself."""
    folder, has_ended = Path(tempfile.mkdtemp(prefix='dgss-')), False
    # The null backend cannot pass a self-test.
    parameters = {'self_test': 'backend' not in parameters, **parameters}
    try:
        with active_node(load.bundle, folder / 'node.log', IMAGE_TOPIC, **parameters) as node:
            try:
                yield node
            finally:
                has_ended = node.process.poll() is not None
    finally:
        if not has_ended:
            shutil.rmtree(folder)


def _trips(stream: Stream, load: Load) -> list[float]:
    """Return the seconds of each round trip of one turn; nan for a dropped or lost frame."""
    count = load.frames // TURNS
    if not load.rate:
        return [stream.round_trip() for _ in range(count)]
    stream.sent.clear()
    _finish(play([stream], count, load.rate))
    return [stream.answered.get(s, np.nan) - start for s, start in stream.sent.items()]


def _finish(frames: Iterator[int]) -> None:
    for _ in frames:
        pass


def _change(times: np.ndarray, values: np.ndarray) -> float:
    """Return the rise of the straight line fitted to `values`, from first to last time."""
    return float(np.polyfit(times - times[0], values, 1)[0] * (times[-1] - times[0]))
