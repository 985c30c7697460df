"""Progress of a training and of reading its frames: a bar on a terminal, otherwise lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from time import perf_counter
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from dgss_core.bars import tracked
from dgss_core.datasets.synthetic import SET_FRAMES
from dgss_core.training.meter import Reading

LOG_EVERY = 20
"""Steps between log entries."""
Part = TypeVar('Part')


def read_in_threads(
    read: Callable[[int], Part], count: int, title: str, show: bool = True
) -> list[Part]:
    """What `read` returns for 0 to `count` - 1, by all cores; `title` stands before the bar.

    One thread takes neighbours: synthetic frames of a set are rendered together.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = [range(count)[start : start + SET_FRAMES] for start in range(0, count, SET_FRAMES)]
        parts = chain.from_iterable(pool.map(lambda run: [read(index) for index in run], runs))
        return list(tracked(parts, title, count, show))


class Progress:
    """Shows step, loss, images per second, share of waiting, memory and time left."""

    def __init__(self, done: int, steps: int, first: bool) -> None:
        console = Console(stderr=True)
        self.first, self.terminal = first, console.is_terminal
        self.begun, self.done, self.steps = perf_counter(), done, steps
        columns = (
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('{task.fields[state]}'),
            TimeRemainingColumn(),
        )
        self.bar = RichProgress(*columns, console=console, disable=not first or not self.terminal)
        self.task = self.bar.add_task('Training', total=steps, completed=done, state='')

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside the block other bars may use the terminal."""
        self.bar.stop()
        yield
        self.bar.start()

    def show(self, step: int, values: Mapping[str, float], reading: Reading) -> None:
        state = f'loss {values["loss"]:.3f}, {reading}'
        self.bar.update(self.task, completed=step, state=state)
        if self.first and not self.terminal:
            rate = (perf_counter() - self.begun) / max(1, step - self.done)
            left = timedelta(seconds=round(rate * (self.steps - step)))
            print(f'step {step}/{self.steps}: {state}, {left} left', flush=True)
