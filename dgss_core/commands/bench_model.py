"""`dgss bench model`: the speed of a bundle in each backend, compared with its device's roof."""

from __future__ import annotations

import json as json_text
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from dgss_core.commands.bench_memory import measure
from dgss_core.commands.bench_roof import Rooflines
from dgss_core.commands.bench_tables import print_runs
from dgss_core.commands.limits import above, at_least
from dgss_core.commands.turns import take_turns
from dgss_core.errors import DgssError
from dgss_core.runtime.backend import TimedBackend, run_network
from dgss_core.runtime.backends import BACKENDS, check_backend, load_backend
from dgss_core.runtime.bundle import Bundle, open_bundle
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
    cache_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Time a bundle in every backend that works here, in one run; compare with their rooflines.

    A roofline is that of the device that the backend runs on, and says what bounds it there.

    Args:
        bundle: bundle folder; the embedded one when left out
        backend: one backend, several joined by commas, or all that work here; also
            torch:CHECKPOINT, torch:CHECKPOINT?compile+fp16 and null:MILLISECONDS
        against: a second bundle to time in the same run, such as its plain export
        batch: images in one call
        seconds: time for each; they take turns
        threads: CPU threads, 0 for all cores
        unverified: also time engines that are not verified
        cache_dir: folder of the engines; ~/.cache/dgss/engines when left out
        json: print JSON instead of tables
    """
    check_load(batch, seconds, threads)
    names = list(BACKENDS) if backend == 'all' else backend.split(',')
    for name in names:
        check_backend(name)
    opened = [open_bundle(bundle)] + ([open_bundle(against)] if against else [])
    errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    runs: list[Run] = []
    for each in opened:
        for name in names:
            try:
                runs.append(Run.load(each, name, batch, threads, unverified, cache_dir))
            except DgssError as error:
                if backend != 'all':
                    raise
                errors.print(f'{name} is left out: {error}')
    if not runs:
        raise DgssError('No backend runs this bundle here; see the reasons above.')
    take_turns([run.step for run in runs], seconds)
    rooflines = Rooflines(batch, threads)
    rows = [run.figures(runs[0], rooflines) for run in runs]
    if json:
        print(json_text.dumps({'runs': rows}, indent=2))
        return
    print_runs(rows, batch)


def check_load(batch: int, seconds: float, threads: int) -> None:
    """Raise DgssError for numbers with which nothing can be measured."""
    at_least(1, batch=batch)
    at_least(0, threads=threads)
    above(0, seconds=seconds)


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
    def load(
        cls,
        bundle: Bundle,
        name: str,
        batch: int,
        threads: int,
        unverified: bool,
        cache_dir: Path | None,
    ) -> Run:
        """Load the network and run it once, because the first call takes longer."""
        backend = load_backend(
            bundle, name, threads, cache_dir=cache_dir, allow_unverified=unverified
        )
        segmenter = Segmenter(bundle, backend)
        image = segmenter.prepare(camera_image())
        images = np.repeat(image[None], batch, axis=0)
        run_network(backend, images)
        return cls(segmenter, images, measure(bundle.folder, name, batch, threads, cache_dir))

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

    def figures(self, first: Run, rooflines: Rooflines) -> dict[str, Any]:
        """Milliseconds of a call, images per second, MiB, and the speed relative to `first`.

        The roof is compared with the time on the device, where the backend knows that.
        """
        bundle, times = self.segmenter.bundle, np.array(self.stages['network'])
        p50, p95, p99 = np.percentile(times, (50, 95, 99))
        on_device = float(np.median(self.stages.get('GPU network', times)))
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
            'roof': rooflines.of(self.segmenter.backend, bundle, self.images, on_device),
        }
