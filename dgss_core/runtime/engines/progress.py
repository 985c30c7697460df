"""How far a build is: a line now and then for a log, a bar for a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dgss_core.runtime.engines.build import Watch


def every(seconds: float, report: Callable[[str], Any]) -> Watch:
    """Tell `report` every so many seconds which phase a build is in."""
    start = last = time.monotonic()

    def watch(phase: str, fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= seconds:
            last = now
            report(f'Building the engine: {now - start:.0f} s, {phase} {fraction:.0%}.')

    return watch


@contextmanager
def bar(title: str) -> Iterator[Watch]:
    """A bar on stderr while a build runs; where that is no terminal, a line every 5 seconds."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield every(5, lambda line: console.print(line, highlight=False))
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
