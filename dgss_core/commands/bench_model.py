"""`dgss bench model`: the speed of a bundle in each backend, compared with the roofline."""

from __future__ import annotations

import json as json_text
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from dgss_core.commands.bench_memory import measure
from dgss_core.commands.turns import take_turns
from dgss_core.errors import DgssError
from dgss_core.runtime.backend import TimedBackend
from dgss_core.runtime.backends import BACKENDS, check_backend, load_backend
from dgss_core.runtime.bundle import Bundle, open_bundle
from dgss_core.runtime.roofline import Machine, bound, layers_of, measure_cpu
from dgss_core.runtime.segmenter import Segmenter
from dgss_core.synthetic import StreetDrive

CAMERA = (1280, 720)
"""Width and height in pixels of the camera image at the start of the stages."""


def model(
    *,
    bundle: Path | None = None,
    backend: str = 'all',
    against: Path | None = None,
    batch: int = 1,
    seconds: float = 3,
    threads: int = 0,
    unverified: bool = False,
    json: bool = False,
) -> None:
    """Time a bundle in every backend that works here, in one run, and compare with the roofline.

    Args:
        bundle: bundle folder; the embedded one when left out
        backend: one backend, several joined by commas, or all that work here; also
            torch:CHECKPOINT and null:MILLISECONDS
        against: a second bundle to time in the same run, such as its plain export
        batch: images in one call
        seconds: time for each; they take turns
        threads: CPU threads, 0 for all cores
        unverified: also time engines that are not verified
        json: print JSON instead of tables
    """
    if batch < 1 or seconds <= 0 or threads < 0:
        raise DgssError('Give at least one image, more than 0 seconds, and 0 threads or more.')
    names = list(BACKENDS) if backend == 'all' else backend.split(',')
    for name in names:
        check_backend(name)
    opened = [open_bundle(bundle)] + ([open_bundle(against)] if against else [])
    errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    runs: list[Run] = []
    for each in opened:
        for name in names:
            try:
                runs.append(Run.load(each, name, batch, threads, unverified))
            except DgssError as error:
                if backend != 'all':
                    raise
                errors.print(f'{name} is left out: {error}')
    if not runs:
        raise DgssError('No backend runs this bundle here; see the reasons above.')
    take_turns([run.step for run in runs], seconds)
    rows = [run.figures(runs[0]) for run in runs]
    on_gpu = any('GPU network' in run.stages for run in runs)
    machine = _measure_gpu() if on_gpu else measure_cpu(threads)
    roof = [_roofline(each, batch, machine, 'GPU' if on_gpu else 'CPU') for each in opened]
    if json:
        print(json_text.dumps({'runs': rows, 'roofline': roof}, indent=2))
        return
    _print(rows, roof, batch)


@cache
def camera_image() -> np.ndarray:
    """A synthetic camera image, RGB of size `CAMERA`."""
    width, height = CAMERA
    return StreetDrive(3, 'day', width=width, height=height).frame(0).image


@dataclass
class Run:
    """One bundle in one backend, and the seconds of its stages in each call."""

    segmenter: Segmenter
    images: np.ndarray
    memory: dict[str, float]
    stages: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def load(cls, bundle: Bundle, name: str, batch: int, threads: int, unverified: bool) -> Run:
        """Load the network and run it once, because the first call takes longer."""
        backend = load_backend(bundle, name, threads, allow_unverified=unverified)
        segmenter = Segmenter(bundle, backend)
        image = segmenter.prepare(camera_image())
        images = np.repeat(image[None], batch, axis=0)
        backend.run(images)
        return cls(segmenter, images, measure(bundle.folder, name, batch, threads))

    def step(self) -> None:
        """Time one call of the network, with the resize before it and the resize after it."""
        segmenter = self.segmenter
        width, height = CAMERA
        start = time.perf_counter()
        for _ in self.images:
            segmenter.prepare(camera_image())
        resized = time.perf_counter()
        predictions = segmenter.predict_prepared([*self.images])
        answered = time.perf_counter()
        for prediction in predictions:
            prediction.resized(height=height, width=width)
        spans = {
            'resize': resized - start,
            'network': answered - resized,
            'resize back': time.perf_counter() - answered,
        }
        for name, seconds in (spans | self._on_gpu()).items():
            self.stages.setdefault(name, []).append(seconds)

    def _on_gpu(self) -> dict[str, float]:
        backend = self.segmenter.backend
        if not isinstance(backend, TimedBackend):
            return {}
        return {f'GPU {name}': span for name, span in backend.stages(self.images).items()}

    def figures(self, first: Run) -> dict[str, Any]:
        """Milliseconds of a call, images per second, MiB, and the speed relative to `first`."""
        bundle, times = self.segmenter.bundle, np.array(self.stages['network'])
        p50, p95, p99 = np.percentile(times, (50, 95, 99))
        return {
            'bundle': bundle.identity,
            'precision': bundle.manifest.precision,
            'backend': self.segmenter.backend.identity,
            'calls': len(times),
            'p50_ms': p50 * 1e3,
            'p95_ms': p95 * 1e3,
            'p99_ms': p99 * 1e3,
            'images_per_s': len(self.images) / p50,
            'times_first': float(np.median(first.stages['network'])) / p50,
            'memory_mib': self.memory,
            'stages_ms': {
                name: float(np.median(values)) * 1e3 for name, values in self.stages.items()
            },
        }


def _measure_gpu() -> Machine:
    from dgss_core.commands.bench_gpu import measure_gpu

    return measure_gpu()


def _roofline(bundle: Bundle, batch: int, machine: Machine, device: str) -> dict[str, Any]:
    """The operations of the network, and its least time on the machine."""
    layers = layers_of(bundle, batch)
    return {
        'bundle': bundle.identity,
        'device': device,
        'giga_operations': sum(layer.operations for layer in layers) / 1e9,
        'copy_gb_per_s': machine.copy / 1e9,
        'gemm_gflop_per_s': machine.gemm / 1e9,
        'bound_ms': bound(layers, machine) * 1e3,
    }


def _print(rows: list[dict], roof: list[dict], batch: int) -> None:
    console = Console(width=max(130, Console().width), highlight=False, markup=False)
    columns = ('bundle', 'backend', 'p50 ms', 'p95', 'p99', 'images/s', 'x first', 'MiB', 'roof')
    table = Table(box=None, title=f'{batch} image(s) a call', title_justify='left')
    for column in columns:
        table.add_column(column, no_wrap=True)
    bounds = {each['bundle']: each['bound_ms'] for each in roof}
    for row in rows:
        table.add_row(
            row['bundle'],
            row['backend'],
            *(f'{row[f"p{share}_ms"]:.1f}' for share in (50, 95, 99)),
            f'{row["images_per_s"]:.1f}',
            f'{row["times_first"]:.2f}',
            ' + '.join(f'{mib:.0f} {where}' for where, mib in row['memory_mib'].items() if mib),
            f'{bounds[row["bundle"]] / row["p50_ms"]:.0%}',
        )
    console.print(table)
    for row in rows:
        stages = ', '.join(f'{name} {value:.1f}' for name, value in row['stages_ms'].items())
        console.print(f'{row["bundle"]} on {row["backend"]}, ms: {stages}')
    for each in roof:
        console.print(
            f'{each["bundle"]}: {each["giga_operations"]:.1f} G operations; the {each["device"]} '
            f'copies {each["copy_gb_per_s"]:.1f} GB/s and multiplies fp32 matrices at '
            f'{each["gemm_gflop_per_s"]:.0f} GFLOP/s, so no call takes less than '
            f'{each["bound_ms"]:.1f} ms in fp32.'
        )
