"""Steps that are timed against each other take turns, so that a slow machine is slow for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any


def take_turns(steps: Sequence[Callable[[], Any]], seconds: float) -> None:
    """Call each step in turn until `seconds` for each are over; at least three times."""
    rounds, end = 0, time.perf_counter() + seconds * len(steps)
    while rounds < 3 or time.perf_counter() < end:
        rounds += 1
        for step in steps:
            step()
