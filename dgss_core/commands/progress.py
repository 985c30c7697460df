"""Progress bars, only on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

Item = TypeVar('Item')


def with_progress(items: Iterable[Item], title: str, total: int | None) -> Generator[Item]:
    """Iterate `items` with a bar of rate and remaining time.

    `total`: number of items, None if unknown. Close the generator when you leave it early, to
    remove the bar before other output.
    """
    rate = TextColumn('{task.fields[rate]}')
    bar = _bar(MofNCompleteColumn(), rate, TimeRemainingColumn())
    if bar is None:
        yield from items
        return
    with bar as progress:
        task = progress.add_task(title, total=total, rate='')
        started = time.perf_counter()
        for count, item in enumerate(items, 1):
            yield item
            speed = count / (time.perf_counter() - started)
            progress.update(task, advance=1, rate=f'{speed:.1f}/s')


@contextmanager
def byte_progress(title: str, total: int | None) -> Iterator[Callable[[int, int | None], None]]:
    """A bar of bytes; yields what is called with those that are there, and with all (or None)."""
    bar = _bar(DownloadColumn(), TransferSpeedColumn())
    if bar is None:
        yield lambda done, total: None
        return
    with bar as progress:
        task = progress.add_task(title, total=total)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _bar(*columns: ProgressColumn) -> Progress | None:
    """A bar on stderr; None where that is no terminal.

    The Progress of rich 13.7, even where it is disabled, ends with an empty line.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        return None
    first = (TextColumn('{task.description}'), BarColumn())
    # What is printed goes above the bar, but to where stdout was redirected if it was.
    return Progress(*first, *columns, console=console, redirect_stdout=sys.stdout.isatty())


def say(line: str) -> None:
    """A `Report` for commands: one line on stderr, beside their results."""
    print(line, file=sys.stderr)
