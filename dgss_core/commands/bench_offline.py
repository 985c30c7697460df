"""`dgss bench offline`: `dgss segment` and `dgss evaluate` against the bare network."""

from __future__ import annotations

import json as json_text
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import cv2
from rich.console import Console
from rich.table import Table

from dgss_core.bags.writer import write_bag
from dgss_core.commands.limits import at_least
from dgss_core.commands.segment import Result, segment_all
from dgss_core.commands.segment_output import result_folder
from dgss_core.commands.sizes import parse_size
from dgss_core.commands.tables import print_table
from dgss_core.evaluation.bag_frames import BagFrames
from dgss_core.evaluation.predict import predict
from dgss_core.evaluation.predictors import SegmenterPredictor
from dgss_core.evaluation.scoring import Classes, score
from dgss_core.evaluation.store import PredictionStore
from dgss_core.images.frames import FIRST_STAMP_NS, Frame
from dgss_core.inputs import read_frames
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.pipeline import lanes_for, opencv_in_one_thread
from dgss_core.runtime.segmenter import Segmenter
from dgss_core.synthetic import StreetDrive, SyntheticFrame

DRAWN = 10
"""Frames that are drawn; a longer drive repeats them."""
RENDERED = (1280, 720)
"""Width and height in pixels at which they are drawn; other sizes are resized from it."""


def offline(
    *,
    bundle: Path | None = None,
    backend: str = 'auto',
    sizes: str = '1280x720,1920x1080,3840x2160',
    frames: int = 60,
    rounds: int = 3,
    threads: int = 0,
    json: bool = False,
) -> None:
    """Compare `dgss segment` and `dgss evaluate` on bags of JPEGs with the network alone.

    For each size and round: the network called in a loop on an image in memory; `dgss segment`
    from the bag to its folder; the predictions of `dgss evaluate` into their store; and their
    scores with labels, flicker and shift. Each in frames per second, the middle of the rounds.

    Args:
        bundle: bundle folder; the embedded one when left out
        backend: backend that runs the network
        sizes: WIDTHxHEIGHT of the images, several joined by commas
        frames: frames of each bag
        rounds: how often each is measured; they take turns
        threads: CPU threads, 0 for all cores
        json: print JSON instead of a table
    """
    at_least(1, frames=frames, rounds=rounds)
    at_least(0, threads=threads)
    wanted = [parse_size(text) for text in sizes.split(',')]
    opened, drawn = open_bundle(bundle), _drawn(min(frames, DRAWN))
    with (
        Segmenter(opened, backend, threads) as alone,
        Segmenter(opened, backend, threads, lanes=lanes_for(threads)) as shared,
    ):
        rows = [_row(alone, shared, _drive(drawn, size, frames), rounds) for size in wanted]
    if json:
        print(json_text.dumps({'cores': os.cpu_count(), 'sizes': rows}, indent=2))
    else:
        _print(rows, shared)


def _row(
    alone: Segmenter, shared: Segmenter, drive: Sequence[Frame], rounds: int
) -> dict[str, Any]:
    frames, (height, width) = len(drive), drive[0].image.shape[:2]
    with TemporaryDirectory(prefix='dgss-bench-') as folder:
        bag = Path(folder) / 'drive'
        write_bag(bag, drive, compressed=True)
        image = alone.prepare(drive[0].image)
        steps: dict[str, Callable[[Path], object]] = {
            'network': lambda _: [alone.predict_prepared([image]) for _ in drive],
            'segment': lambda output: _segment(shared, bag, output),
            'predictions': lambda output: _predict(shared, bag, output),
            'scores': lambda output: _score(shared, bag, output),
        }
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        cpu: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(rounds):
            for name, step in steps.items():
                # The scores are those of the predictions before them.
                output = Path(folder) / f'{name.replace("scores", "predictions")}{number}'
                started, used = time.perf_counter(), time.process_time()
                step(output)
                cpu[name].append(time.process_time() - used)
                seconds[name].append(time.perf_counter() - started)
    rates = {name: frames / value for name, value in _medians(seconds).items()}
    return {
        'size': f'{width}x{height}',
        'frames': frames,
        'frames_per_s': rates,
        'share_of_network': {name: rate / rates['network'] for name, rate in rates.items()},
        'cpu_ms_per_frame': {name: 1e3 * value / frames for name, value in _medians(cpu).items()},
    }


def _medians(taken: dict[str, list[float]]) -> dict[str, float]:
    """The middle of each, with that of the whole of `dgss evaluate`."""
    found = {name: median(values) for name, values in taken.items()}
    return found | {'evaluate': found['predictions'] + found['scores']}


def _drawn(count: int) -> list[SyntheticFrame]:
    street = StreetDrive(3, 'day', width=RENDERED[0], height=RENDERED[1])
    return [street.frame(index) for index in range(count)]


def _drive(drawn: Sequence[SyntheticFrame], size: tuple[int, int], count: int) -> list[Frame]:
    """`count` frames of `size`, which repeat those that are drawn."""
    resized = [
        Frame(
            '',
            cv2.resize(frame.image, size, interpolation=cv2.INTER_CUBIC),
            FIRST_STAMP_NS,
            cv2.resize(frame.labels, size, interpolation=cv2.INTER_NEAREST),
            'day',
        )
        for frame in drawn
    ]
    return [
        replace(resized[index % len(resized)], stamp_ns=FIRST_STAMP_NS + index * 10**8)
        for index in range(count)
    ]


def _segment(segmenter: Segmenter, bag: Path, output: Path) -> None:
    source = read_frames(bag)
    result = Result(source, segmenter, [])
    with result_folder(output, bag, False, result.page()) as folder:
        segment_all(result, folder, opacity=0.5)


def _predict(segmenter: Segmenter, bag: Path, output: Path) -> None:
    with opencv_in_one_thread(), PredictionStore(output / 'frames.sqlite', 'bench') as store:
        predict(BagFrames(bag, segmenter.labels), SegmenterPredictor(segmenter), store)


def _score(segmenter: Segmenter, bag: Path, output: Path) -> None:
    labels = segmenter.labels
    with opencv_in_one_thread(), PredictionStore(output / 'frames.sqlite', 'bench') as store:
        score(
            BagFrames(bag, labels),
            store,
            Classes.of(labels, labels, labels),
            statistics=segmenter.bundle.manifest.source,
        )


def _print(rows: list[dict[str, Any]], shared: Segmenter) -> None:
    console = Console(width=max(130, Console().width), highlight=False, markup=False)
    table = Table(
        box=None,
        title='frames/s, the share of the network, and CPU time of a frame',
    )
    for column in ('size', *rows[0]['frames_per_s']):
        table.add_column(column, no_wrap=True)
    for row in rows:
        shares, cpu = row['share_of_network'], row['cpu_ms_per_frame']
        cells = [
            f'{rate:.1f}  {shares[name]:.2f}  {cpu[name]:.0f} ms'
            for name, rate in row['frames_per_s'].items()
        ]
        table.add_row(row['size'], *cells)
    print_table(table)
    console.print(
        f'{shared.identity} on {shared.backend.identity}; {os.cpu_count()} cores; network: one '
        f'call after another; the others: {shared.lanes} calls at once.'
    )
