"""`dgss bench drive`: what the frames of the synthetic drive cost, in order and in any order."""

from __future__ import annotations

import json as json_text
import os
import random
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from dgss_core.commands.sizes import parse_size
from dgss_core.commands.tables import print_table
from dgss_core.datasets.rendered import RenderedFrames
from dgss_core.datasets.synthetic import SPLITS, Synthetic, drive_of
from dgss_core.errors import DgssError
from dgss_core.synthetic import CONDITIONS, StreetDrive
from dgss_core.synthetic.world import street_of

LIMIT = 2**40
"""Bytes of rendered frames that are kept during the measurement: all."""


def drive(*, seeds: int = 4, frames: int = 12, size: str = '640x360', json: bool = False) -> None:
    """Measure the synthetic drive: frames in order, in any order, and read again; each condition.

    The frames are those of the training split. Rendered frames are kept in a temporary folder, and
    each run begins without any and without a street, but the one that reads them again.

    Args:
        seeds: drives, each along its own street
        frames: frames of each drive
        size: WIDTHxHEIGHT of the frames
        json: print JSON instead of a table
    """
    if not 1 <= seeds <= len(SPLITS['train']) or frames < 1:
        raise DgssError(f'Give 1 to {len(SPLITS["train"])} seeds, and at least one frame of each.')
    width, height = parse_size(size)
    chosen = SPLITS['train'][:seeds]
    # What is loaded or compiled on first use is not measured.
    StreetDrive(0, width=width, height=height).frame(0)
    found: dict[str, Any] = {'size': size, 'frames': seeds * frames, 'cores': os.cpu_count()}
    found |= _parts(chosen, frames, width, height)
    dataset = Synthetic(chosen, frames, width=width, height=height)
    found |= _orders(dataset)
    if json:
        print(json_text.dumps(found, indent=2))
    else:
        _print(found)


def _orders(dataset: Synthetic) -> dict[str, Any]:
    """Frames per second of each way to read the dataset. Raises DgssError if none is kept."""
    in_order = range(len(dataset))
    shuffled = random.Random(0).sample(in_order, len(dataset))
    dataset.rendered = None
    rates = {'rendered in order, not kept': _rate(dataset, in_order)}
    with TemporaryDirectory(prefix='dgss-bench-') as folder:
        dataset.rendered = RenderedFrames(LIMIT, Path(folder) / 'in-order')
        rates['rendered in order'] = _rate(dataset, in_order)
        dataset.rendered = RenderedFrames(LIMIT, Path(folder) / 'any-order')
        rates['rendered in any order'] = _rate(dataset, shuffled)
        rates['read again in any order'] = _rate(dataset, shuffled)
    ratio = rates['rendered in order'] / rates['rendered in any order']
    return {'frames_per_s': rates, 'any_order_to_in_order': ratio}


def _rate(dataset: Synthetic, order: Iterable[int]) -> float:
    _forget()
    started = time.perf_counter()
    for index in order:
        dataset[index]
    rate = len(dataset) / (time.perf_counter() - started)
    if dataset.rendered is not None and dataset.rendered.stopped:
        raise DgssError(
            f'Rendered frames could not be kept in {dataset.rendered.folder}, so reading them '
            'cannot be measured; set TMPDIR to a folder with space.'
        )
    return rate


def _parts(seeds: range, frames: int, width: int, height: int) -> dict[str, Any]:
    """Milliseconds of a street, of what all conditions share of a frame, and of each condition."""
    streets, views = [], []
    taken: dict[str, list[float]] = {condition: [] for condition in CONDITIONS}
    for seed in seeds:
        _forget()
        streets.append(_milliseconds(lambda seed=seed: street_of(seed)))
        drives = {c: StreetDrive(seed, c, width=width, height=height) for c in CONDITIONS}
        for index in range(0, 10 * frames, 10):
            views.append(_milliseconds(lambda i=index, d=drives: d['day'].view(i)))
            for condition, each in drives.items():
                taken[condition].append(_milliseconds(lambda i=index, d=each: d.frame(i)))
    return {
        'street_ms': median(streets),
        'view_ms': median(views),
        'condition_ms': {condition: median(values) for condition, values in taken.items()},
    }


def _milliseconds(step: Any) -> float:
    started = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - started)


def _forget() -> None:
    """Let go of every street."""
    drive_of.cache_clear()
    street_of.cache_clear()


def _print(found: dict[str, Any]) -> None:
    console = Console(width=max(100, Console().width), highlight=False, markup=False)
    table = Table(box=None, title='frames/s', show_header=False)
    for name, rate in found['frames_per_s'].items():
        table.add_row(name, f'{rate:.1f}')
    print_table(table)
    conditions = ', '.join(f'{name} {ms:.0f}' for name, ms in found['condition_ms'].items())
    console.print(
        f'{found["frames"]} frames of {found["size"]}; any order takes '
        f'{found["any_order_to_in_order"]:.2f} times as long as in order. A street: '
        f'{found["street_ms"]:.0f} ms, a view: {found["view_ms"]:.0f} ms, the picture of a view, '
        f'ms: {conditions}; {found["cores"]} cores.'
    )
