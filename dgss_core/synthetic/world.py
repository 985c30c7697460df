"""The static world of a seed: an endless street, built block by block."""

from functools import lru_cache
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import ArrayLike

from dgss_core.synthetic.noise import stream
from dgss_core.synthetic.roadside import Roadside
from dgss_core.synthetic.style import KINDS, Stock, Style, draw_style
from dgss_core.synthetic.things import Block

_KEPT = 16


class Street:
    """The static world of a seed: endless, each block built on first use."""

    def __init__(self, style: Style, stock: Stock) -> None:
        self.style, self.stock = style, stock
        self._blocks: dict[int, Block] = {}
        self._building = Lock()

    def centre(self, s: ArrayLike) -> Any:
        """Lateral offset of the centre line at s, both in metres; an array for an array."""
        a, wave, phase = self.style.bends.T
        return (a * np.sin(2 * np.pi * np.asarray(s)[..., None] / wave + phase)).sum(-1)

    def slope(self, s: ArrayLike) -> Any:
        """Derivative of `centre`."""
        a, wave, phase = self.style.bends.T
        k = 2 * np.pi / wave
        return (a * k * np.cos(k * np.asarray(s)[..., None] + phase)).sum(-1)

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
        block = Block(start, start + style.block, crossing, kinds)
        for side in (-1, 1):
            Roadside(style, self.stock, block, side, rng).build()
        block.quads = [(self._bent(c), texture, label) for c, texture, label in block.quads]
        return block

    def _bent(self, corners: Any) -> np.ndarray:
        """World points (s, y, z) of street coordinates (s, lateral, z)."""
        points = np.array(corners, np.float64)
        points[:, 1] += self.centre(points[:, 0])
        return points


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
