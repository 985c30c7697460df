"""The rates of any device, from chains of one operator that a library runs on it.

The time of a node is the difference between a long and a short chain, over the nodes between them:
what a call costs besides its nodes is in both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dgss_core.errors import DgssError
from dgss_core.runtime.roofline.machine import BYTES, Machine

PRODUCT, COPY = 'product', 'copy'
ENOUGH_S = 0.3e-3
"""A node that takes this long is measured well: a launch takes microseconds."""
SMALLEST = 16
"""Side of the matrices of the smallest node."""
PRODUCT_SIDES, COPY_SIDES = (128, 8192), (1 << 24, 1 << 27)
"""The first and the last side of matrices, and number of floats, until a node takes `ENOUGH_S`."""
SHORT, LONG = 2, 8
REPEATS_S = 0.2
"""Time for the repeats of one call, at least 3 and at most 30."""


@dataclass(frozen=True)
class Chain:
    """`length` nodes in a row.

    `kind`: `PRODUCT` of two square matrices with `side` rows, or `COPY` of `side` floats, read and
    written. `precision`: a key of `dgss_core.runtime.roofline.machine.BYTES`.
    """

    kind: str
    precision: str
    side: int
    length: int = LONG


class Clock(Protocol):
    """A library that runs chains on one device; `name` says which, as 'the CPU in numpy'."""

    name: str

    def seconds_per_node(self, chain: Chain) -> float:
        """The least seconds of a node. Raises DgssError for what the device cannot run."""
        ...


def measure(clock: Clock) -> Machine:
    """The rates of the device of `clock`.

    A precision that it cannot run is left out. Raises DgssError if it runs none in fp32.
    """
    launch = clock.seconds_per_node(Chain(PRODUCT, 'fp32', SMALLEST, 16 * LONG))
    chain, seconds = _grown(clock, Chain(COPY, 'fp32', COPY_SIDES[0]), COPY_SIDES[1])
    copy = 2 * BYTES['fp32'] * chain.side / seconds
    gemm: dict[str, float] = {}
    for precision in BYTES:
        try:
            chain, seconds = _grown(
                clock, Chain(PRODUCT, precision, PRODUCT_SIDES[0]), PRODUCT_SIDES[1]
            )
        except DgssError:
            continue
        gemm[precision] = 2 * chain.side**3 / seconds
    return Machine(clock.name, copy, gemm, launch)


def by_difference(start: Callable[[int], Callable[[], Any]], length: int) -> float:
    """Seconds of a node; `start` prepares a chain of a length and returns its call."""
    short = max(1, length * SHORT // LONG)
    least = [_least(start(nodes)) for nodes in (short, length)]
    # Noise can hide a node that is far shorter than a call; then the call is an upper bound.
    return (least[1] - least[0]) / (length - short) if least[1] > least[0] else least[1] / length


def _grown(clock: Clock, chain: Chain, largest: int) -> tuple[Chain, float]:
    """The first chain whose node takes long enough, from `chain` on, and the seconds of a node."""
    while True:
        seconds = clock.seconds_per_node(chain)
        if seconds >= ENOUGH_S or chain.side >= largest:
            return chain, seconds
        chain = replace(chain, side=2 * chain.side)


def _least(call: Callable[[], Any]) -> float:
    call()  # allocates, and chooses kernels
    best, end, count = float('inf'), time.perf_counter() + REPEATS_S, 0
    while count < 3 or (count < 30 and time.perf_counter() < end):
        start = time.perf_counter()
        call()
        best, count = min(best, time.perf_counter() - start), count + 1
    return best
