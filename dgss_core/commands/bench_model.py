"""`dgss bench model`: how fast a bundle runs here, in each backend, and how fast it could."""

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
from dgss_core.runtime.backend import Backend
from dgss_core.runtime.backends import BACKENDS, check_backend, load_backend
from dgss_core.runtime.bundle import Bundle, open_bundle
from dgss_core.runtime.roofline import Machine, bound, layers_of, measure_cpu
from dgss_core.runtime.segmenter import Segmenter
from dgss_core.synthetic import StreetDrive

CAMERA = (1280, 720)
"""Width and height of the image that the stages start from."""


def model(
    *,
    bundle: Path | None = None,
    backend: str = 'all',
    against: Path | None = None,
    batch: int = 1,
    seconds: float = 3,
    threads: int = 0,
    unverified: bool = False,
    heads: bool = False,
    json: bool = False,
) -> None:
    """Time a bundle in every backend that works here, in one run, against the roofline.

    Args:
        bundle: bundle folder; the embedded one when left out
        backend: one backend, several joined by commas, or all that work here; torch:CHECKPOINT
            and null:MILLISECONDS too
        against: a second bundle to time in the same run, such as its plain export
        batch: images in one call
        seconds: how long each is timed; they take turns
        threads: CPU threads, 0 for all cores
        unverified: time engines that were not proven right, too
        heads: time the light and the Mask2Former head behind one backbone instead (needs torch)
        json: print JSON instead of tables
    """
    if batch < 1 or seconds <= 0 or threads < 0:
        raise DgssError('Give at least one image, more than 0 seconds, and 0 threads or more.')
    if heads:
        from dgss_core.commands.bench_heads import contest

        contest(seconds, json)
        return
    names = list(BACKENDS) if backend == 'all' else backend.split(',')
    for name in names:
        check_backend(name)
    opened = [open_bundle(bundle)] + ([open_bundle(against)] if against else [])
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
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
        raise DgssError('No backend runs this bundle here; the reasons stand above.')
    take_turns([run.step for run in runs], seconds)
    rows = [run.figures(runs[0]) for run in runs]
    on_gpu = any('GPU network' in run.stages for run in runs)
    machine = _measure_gpu() if on_gpu else measure_cpu(threads)
    roof = [_roof(each, batch, machine, 'GPU' if on_gpu else 'CPU') for each in opened]
    if json:
        print(json_text.dumps({'runs': rows, 'roofline': roof}, indent=2))
        return
    _print(rows, roof, batch)


@cache
def camera_image() -> np.ndarray:
    """What a camera might give, RGB of the size `CAMERA`."""
    width, height = CAMERA
    return StreetDrive(3, 'day', width=width, height=height).frame(0).image


@dataclass
class Run:
    """One bundle in one backend, and the seconds that its stages took each time."""

    bundle: Bundle
    backend: Backend
    images: np.ndarray
    memory: dict[str, float]
    stages: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def load(cls, bundle: Bundle, name: str, batch: int, threads: int, unverified: bool) -> Run:
        """Load the network and run it once, which takes longer than all other times."""
        backend = load_backend(bundle, name, threads, allow_unverified=unverified)
        image = Segmenter(bundle, backend).prepare(camera_image())
        images = np.repeat(image[None], batch, axis=0)
        backend.run(images)
        return cls(bundle, backend, images, measure(bundle.folder, name, batch, threads))

    def step(self) -> None:
        """One call of the network, after the resize and before the resize that go with it."""
        segmenter = Segmenter(self.bundle, self.backend)
        start = time.perf_counter()
        for _ in self.images:
            segmenter.prepare(camera_image())
        resized = time.perf_counter()
        predictions = segmenter.predict([*self.images])
        answered = time.perf_counter()
        for prediction in predictions:
            prediction.resized(*CAMERA)
        spans = {
            'resize': resized - start,
            'network': answered - resized,
            'resize back': time.perf_counter() - answered,
        }
        for name, seconds in (spans | self._on_gpu()).items():
            self.stages.setdefault(name, []).append(seconds)

    def _on_gpu(self) -> dict[str, float]:
        if not hasattr(self.backend, 'stages'):
            return {}
        return {f'GPU {name}': span for name, span in self.backend.stages(self.images).items()}

    def figures(self, first: Run) -> dict[str, Any]:
        """Milliseconds of a call, images per second, MiB, and the speed relative to `first`."""
        times = np.array(self.stages['network'])
        p50, p95, p99 = np.percentile(times, (50, 95, 99))
        return {
            'bundle': self.bundle.identity,
            'precision': self.bundle.manifest.precision,
            'backend': self.backend.identity,
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


def _roof(bundle: Bundle, batch: int, machine: Machine, device: str) -> dict[str, Any]:
    """What the network asks for, and the least time it can take on the machine."""
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
    console = Console(width=max(130, Console().width), highlight=False)
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
            f'{each["gemm_gflop_per_s"]:.0f} GFLOP/s, so that no call takes less than '
            f'{each["bound_ms"]:.1f} ms in fp32.'
        )
