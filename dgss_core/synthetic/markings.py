"""The paint on the road: lines, stop lines, zebra crossings and rails."""

from typing import Protocol

import numpy as np

from dgss_core.synthetic.noise import Color
from dgss_core.synthetic.style import Style


class Rows(Protocol):
    """What the rows (h,) of the image see of the road; metres, and bool."""

    focal: float
    across: np.ndarray
    """(W,): tangents of the directions of the columns."""
    depth: np.ndarray
    s: np.ndarray
    offset: np.ndarray
    junction: np.ndarray
    zebra: np.ndarray
    stop: np.ndarray

    def lateral(self, rows: slice | np.ndarray) -> np.ndarray: ...


def paint_markings(color: np.ndarray, mask: np.ndarray, road: Rows, style: Style) -> None:
    """Paint the markings in `color`, uint8 (h, W, 3), where `mask`, bool (h, W), is set."""
    paint = np.zeros(mask.shape, np.float32)
    dashed = (np.mod(road.s, 9.0) < 4.5) | (style.seed % 3 == 0)
    open_road = ~road.zebra & ~road.junction
    _stripe(paint, road, 0.0, 0.07, dashed & open_road)
    for sign, parking in ((-1, style.parking[0]), (1, style.parking[1])):
        if style.seed % 2 or parking:
            _stripe(paint, road, sign * (style.lane + style.margin * 0.8), 0.06, open_road)
    _stripe(paint, road, style.lane / 2, style.lane / 2 - 0.2, road.stop)
    _zebra(paint, road, style)
    if style.tracks:
        rails = np.zeros_like(paint)
        for at in (-1, 1):
            for gauge in (-0.72, 0.72):
                _stripe(rails, road, at * style.lane / 2 + gauge, 0.05, None)
        _blend(color, mask, rails * 0.85, (66, 64, 66))
    _blend(color, mask, paint * 0.82, (226, 224, 214))


def _zebra(paint: np.ndarray, road: Rows, style: Style) -> None:
    rows = np.flatnonzero(road.zebra)
    if len(rows):
        lateral, blur = road.lateral(rows), road.depth[rows, None] / road.focal
        bars = np.abs(np.mod(lateral, 1.0) - 0.5) - 0.25
        cover = np.clip(0.5 - bars / np.maximum(blur, 0.02), 0, 1)
        cover[np.abs(lateral) > style.half_road - 0.3] = 0
        paint[rows] = np.maximum(paint[rows], cover)


def _stripe(
    paint: np.ndarray, road: Rows, at: float, half: float, where: np.ndarray | None
) -> None:
    """Add a line of half width `half` metres at lateral `at`, antialiased over a pixel.

    `where`, bool (h,): the rows that it crosses; None for all.
    """
    rows = np.arange(len(road.depth)) if where is None else np.flatnonzero(where)
    rows, columns = _pixels(road, rows, at, half)
    lateral = road.depth[rows] * road.across[columns] + road.offset[rows]
    blur = road.depth[rows] / road.focal
    edge = (half - np.abs(lateral - at)) / blur + 0.5
    limit = np.minimum(1.0, 2 * half / blur)
    paint[rows, columns] = np.maximum(paint[rows, columns], np.clip(edge, 0, limit))


def _pixels(road: Rows, rows: np.ndarray, at: float, half: float) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) of all pixels of `rows` within `half` metres and two pixels of `at`."""
    depth = road.depth[rows].astype(np.float64)
    reach = half + 2 * depth / road.focal
    ends = ((at + sign * reach - road.offset[rows]) / depth for sign in (-1, 1))
    left, right = (np.searchsorted(road.across, end) for end in ends)
    count = right - left
    # Each row's columns are its first one and those that follow, so many as it has.
    steps = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(rows, count), np.repeat(left, count) + steps


def _blend(color: np.ndarray, mask: np.ndarray, cover: np.ndarray, paint: Color) -> None:
    rows, columns = np.nonzero((cover > 0.02) & mask)
    share = cover[rows, columns, None]
    old = color[rows, columns]
    color[rows, columns] = old + (np.asarray(paint, np.float32) - old) * share
