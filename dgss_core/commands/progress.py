"""A progress bar with rate and remaining time, only on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

Item = TypeVar('Item')


def with_progress(items: Iterable[Item], title: str, total: int | None) -> Generator[Item]:
    """Iterate `items` with a progress bar; prints nothing if stderr is not a terminal.

    `total`: number of items, None if unknown. Close the generator when you leave it early, to
    remove the bar before other output.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        # The Progress of rich 13.7, even where it is disabled, ends with an empty line.
        yield from items
        return
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn('{task.fields[rate]}'),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total, rate='')
        started = time.perf_counter()
        for count, item in enumerate(items, 1):
            yield item
            rate = count / (time.perf_counter() - started)
            progress.update(task, advance=1, rate=f'{rate:.1f}/s')


def say(line: str) -> None:
    """A `Report` for commands: one line on stderr, beside their results."""
    print(line, file=sys.stderr)
