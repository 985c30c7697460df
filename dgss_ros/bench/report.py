"""The results of a benchmark: figures, some with a target, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from dgss_core.commands.tables import print_table
from dgss_ros.bench.streams import Stream

PERCENTILES = (50, 95, 99)
Seconds = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Figure:
    """A value; `key` includes its unit. `target`: maximum, or minimum if `at_least` is set."""

    key: str
    value: float
    target: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool:
        assert self.target is not None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass
class BenchReport:
    """The results of one scenario.

    `latencies`: seconds, by the key under which they are reported in milliseconds. `streams`:
    streams without a pause, as the metrics of ros2_benchmark require.
    """

    latencies: Mapping[str, Seconds]
    figures: list[Figure]
    streams: dict[str, Stream] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return latencies and figures by key, `targets`, and `streams` with their metrics."""
        return {
            **{key: percentiles_ms(seconds) for key, seconds in self.latencies.items()},
            **{figure.key: figure.value for figure in self.figures},
            'targets': {
                f.key: {'target': f.target, 'met': f.met}
                for f in self.figures
                if f.target is not None
            },
            'streams': {name: ros2_benchmark(stream) for name, stream in self.streams.items()},
        }

    def print(self, title: str) -> None:
        print(title)
        latencies = Table('', *(f'p{p} ms' for p in PERCENTILES))
        for key, seconds in self.latencies.items():
            values = percentiles_ms(seconds).values()
            latencies.add_row(_words(key.removesuffix('_ms')), *(f'{v:.1f}' for v in values))
        print_table(latencies)
        figures = Table('', 'measured', 'target', '')
        for figure in self.figures:
            figures.add_row(_words(figure.key), f'{figure.value:.4g}', *_judgement(figure))
        print_table(figures)


def percentiles_ms(seconds: Seconds) -> dict[str, float]:
    values = np.percentile(seconds, PERCENTILES) * 1e3
    return {f'p{p}': float(v) for p, v in zip(PERCENTILES, values, strict=True)}


def ros2_benchmark(stream: Stream) -> dict[str, float]:
    """Return the metrics of NVIDIA's ros2_benchmark with its names; times in milliseconds."""
    sent = np.array(list(stream.sent.values())) * 1e3
    received = np.array([stream.answered[s] for s in stream.sent if s in stream.answered]) * 1e3
    latencies = stream.latencies * 1e3
    jitter = np.abs(np.diff(received) - np.diff(received).mean())
    metrics = {
        'NUM_FRAMES_SENT': len(sent),
        'NUM_MISSED_FRAMES': len(sent) - len(received),
        'MEAN_PLAYBACK_FRAME_RATE': 1e3 / np.diff(sent).mean(),
        'MEAN_FRAME_RATE': 1e3 / np.diff(received).mean(),
        'RECEIVED_DURATION': received[-1] - received[0],
        'FIRST_SENT_RECEIVED_LATENCY': latencies[0],
        'LAST_SENT_RECEIVED_LATENCY': latencies[-1],
        'MEAN_LATENCY': latencies.mean(),
        'MAX_LATENCY': latencies.max(),
        'MIN_LATENCY': latencies.min(),
        'MEAN_JITTER': jitter.mean(),
        'MAX_JITTER': jitter.max(),
        'MIN_JITTER': jitter.min(),
        'STD_DEV_JITTER': jitter.std(),
    }
    return {f'BasicPerformanceMetrics.{name}': float(v) for name, v in metrics.items()}


def _words(key: str) -> str:
    return key.replace('_', ' ')


def _judgement(figure: Figure) -> tuple[str, str]:
    if figure.target is None:
        return '', ''
    limit = 'at least' if figure.at_least else 'at most'
    return f'{limit} {figure.target:g}', 'met' if figure.met else 'missed'
