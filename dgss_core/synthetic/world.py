"""The static world of a seed: an endless street, built block by block."""

from collections.abc import Callable
from functools import lru_cache
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from dgss_core.synthetic.curve import Curve
from dgss_core.synthetic.kept import Kept
from dgss_core.synthetic.noise import stream
from dgss_core.synthetic.roadside import Roadside
from dgss_core.synthetic.style import KINDS, Stock, Style, draw_style
from dgss_core.synthetic.things import Block

_KEPT = 16
_VIEW_BYTES = 32 * 2**20


class Street:
    """The static world of a seed: endless, each block built on first use."""

    def __init__(self, style: Style, stock: Stock) -> None:
        self.style, self.stock = style, stock
        self.curve = Curve(style.bends)
        self.centre, self.slope = self.curve.centre, self.curve.slope
        self.views = Kept(_VIEW_BYTES)
        self._shared: dict[Any, Any] = {}
        self._blocks: dict[int, Block] = {}
        self._building = Lock()

    def shared(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returned when it was first called for `key`: all drives share it."""
        if key not in self._shared:
            self._shared.setdefault(key, make())
        return self._shared[key]

    def blocks(self, start: float, end: float) -> list[Block]:
        first, last = (int(np.floor(s / self.style.block)) for s in (start, end))
        return [self.block(k) for k in range(first, last + 1)]

    def block(self, k: int) -> Block:
        """Block k, which starts at s = k * style.block; the last `_KEPT` are cached."""
        with self._building:
            if k not in self._blocks:
                while len(self._blocks) >= _KEPT:
                    self._blocks.pop(next(iter(self._blocks)))
                self._blocks[k] = self._build(k)
            return self._blocks[k]

    def _build(self, k: int) -> Block:
        style, rng = self.style, stream(self.style.seed, 10, k)
        start = k * style.block
        crossing = rng.uniform(7, 11) if rng.random() < 0.75 else 0.0
        kinds = {side: str(rng.choice(KINDS, p=style.kinds)) for side in (-1, 1)}
        block = Block(start, start + style.block, crossing, kinds, self.curve)
        for side in (-1, 1):
            Roadside(style, self.stock, block, side, rng).build()
        return block


_streets: WeakValueDictionary[int, Street] = WeakValueDictionary()


@lru_cache(maxsize=2)
def street_of(seed: int) -> Street:
    """The street of a seed, one for all drives along it; it takes a second and 50 MB to build.

    A street is kept while a drive uses it, and the last two always.
    """
    street = _streets.get(seed)
    if street is None:
        street = _streets[seed] = Street(draw_style(seed), Stock(seed))
    return street
