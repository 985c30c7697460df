"""Steps that are compared take turns, so that a slow phase of the machine affects all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any


def take_turns(steps: Sequence[Callable[[], Any]], seconds: float) -> None:
    """Call the steps in turns, for `seconds` per step in total, and at least three times each."""
    rounds, end = 0, time.perf_counter() + seconds * len(steps)
    while rounds < 3 or time.perf_counter() < end:
        rounds += 1
        for step in steps:
            step()
