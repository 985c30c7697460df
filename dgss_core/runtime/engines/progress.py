"""Progress of a build: regular lines for a log, a bar for a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dgss_core.runtime.backend import Report
from dgss_core.runtime.engines.build import BuildProgress


def every(seconds: float, report: Report) -> BuildProgress:
    """Report the phase of a build, at most once in `seconds`."""
    start = last = time.monotonic()

    def progress(phase: str, fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= seconds:
            last = now
            report(f'Building the engine: {now - start:.0f} s, {phase} {fraction:.0%}.')

    return progress


@contextmanager
def bar(title: str) -> Iterator[BuildProgress]:
    """Show a bar on stderr during a build; if stderr is no terminal, a line every 5 seconds."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield every(5, lambda line: console.print(line, highlight=False, markup=False))
        return
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        TextColumn('{task.fields[phase]}'),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=1.0, phase='starting')
        yield lambda phase, fraction: progress.update(task, completed=fraction, phase=phase)
