"""A bar for the work of the library: on stderr, and only where that is a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar('Item')


def tracked(
    items: Iterable[Item], title: str, total: int | None = None, show: bool = True
) -> Iterable[Item]:
    """`items` with a bar behind `title`. `total`: their number, None if unknown."""
    console = Console(stderr=True)
    return track(items, title, total, console=console, disable=not (show and console.is_terminal))
