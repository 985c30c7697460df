"""Charts as inline SVG. Colours come from the style sheet, so that a chart follows the theme."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dgss_core.evaluation.report.elements import Content, Element, element

Point = tuple[float, float]
LONGEST = 24
"""Characters of a name beside a chart."""
FINE = 600
"""Columns of a curve: of more values, each column shows the lowest and the highest."""


@dataclass(frozen=True)
class Plot:
    """The area of a chart, in pixels, and the values at its edges."""

    width: float
    height: float
    x: tuple[float, float] = (0, 1)
    y: tuple[float, float] = (0, 1)
    left: float = 40
    right: float = 12
    top: float = 10
    bottom: float = 34

    def at(self, x: float, y: float) -> Point:
        """The place of a pair of values."""
        inner = self.width - self.left - self.right
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return (
            round(self.left + across * inner, 1),
            round(self.height - self.bottom - up * (self.height - self.top - self.bottom), 1),
        )

    def line(self, points: Iterable[Point | None], class_: str) -> Element:
        """A line through pairs of values; None breaks it."""
        steps, drawing = [], False
        for point in points:
            if point is not None:
                x, y = self.at(*point)
                steps.append(f'{"L" if drawing else "M"}{x:g} {y:g}')
            drawing = point is not None
        return element('path', d=''.join(steps), class_=f'line {class_}')

    def rule(self, start: Point, end: Point, class_: str = 'rule') -> Element:
        (x1, y1), (x2, y2) = self.at(*start), self.at(*end)
        return element('line', x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)

    def bar(self, x: tuple[float, float], y: tuple[float, float], class_: str) -> Element:
        """A filled box between two values of x and two of y."""
        left, bottom = self.at(x[0], y[0])
        right, top = self.at(x[1], y[1])
        size = {'width': round(max(right - left, 0.5), 1), 'height': round(bottom - top, 1)}
        return element('rect', x=left, y=top, **size, class_=class_)

    def dot(self, x: float, y: float, class_: str, radius: float = 3) -> Element:
        cx, cy = self.at(x, y)
        return element('circle', cx=cx, cy=cy, r=round(radius, 1), class_=class_)

    def grid(self, x_ticks: Mapping[float, str], y_ticks: Mapping[float, str]) -> list[Element]:
        """A rule for each tick of y, and the texts of both axes."""
        drawn = []
        for value, text in y_ticks.items():
            drawn.append(self.rule((self.x[0], value), (self.x[1], value)))
            x, y = self.at(self.x[0], value)
            drawn.append(label(text, x - 6, y + 4, anchor='end'))
        for value, text in x_ticks.items():
            x, y = self.at(value, self.y[0])
            drawn.append(label(text, x, y + 15))
        return drawn

    def titles(self, x: str, y: str = '') -> list[Element]:
        """What the axes show: `x` below, `y` above the axis."""
        middle = (self.left + self.width - self.right) / 2
        above = [label(y, self.left, self.top - 8, anchor='start')] if y else []
        return [label(x, middle, self.height - 4), *above]

    def draw(self, summary: str, *content: Content, class_: str = '') -> Element:
        """The chart as an image whose text alternative is `summary`."""
        return element(
            'svg',
            element('g', content, aria_hidden='true'),
            viewBox=f'0 0 {self.width:g} {self.height:g}',
            width=f'{self.width:g}',
            height=f'{self.height:g}',
            role='img',
            aria_label=summary,
            class_=f'chart {class_}'.strip(),
        )


def dots(
    values: Mapping[str, tuple[float, Sequence[float] | None]],
    x: tuple[float, float],
    title: str,
    say: Callable[[float], str],
    origin: float | None = None,
) -> Element:
    """A row for each name: its value as a dot, its interval, if it has one, as a line.

    `x`: the range of the axis. `say`: writes a value. `origin`: marked by a line.
    """
    rows = len(values)
    left = 20 + 6.5 * max(len(short(name)) for name in values)
    plot = Plot(640, 44 + 26 * rows, x=x, y=(0, rows), left=left)
    drawn: list[Content] = []
    if origin is not None:
        drawn.append(plot.rule((origin, 0), (origin, rows), 'ideal'))
    for place, (name, (value, ends)) in enumerate(values.items()):
        y = rows - place - 0.5
        drawn.append(plot.rule((x[0], y), (x[1], y)))
        drawn.append(label(short(name), left - 8, plot.at(0, y)[1] + 4, anchor='end'))
        if ends is not None:
            drawn.append(plot.rule((ends[0], y), (ends[1], y), 'whisker'))
        drawn.append(plot.dot(value, y, 'main', 5))
    marks = [label(say(tick), plot.at(tick, 0)[0], plot.height - 18) for tick in ticks(*x)]
    listed = ', '.join(f'{name} {say(value)}' for name, (value, _) in values.items())
    return plot.draw(f'{title}: {listed}.', drawn, marks, plot.titles(title))


def short(name: str) -> str:
    """A name as it fits beside a chart; the tables have it whole."""
    return name if len(name) <= LONGEST else f'{name[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}'


def label(
    text: str, x: float, y: float, *, anchor: str = 'middle', class_: str | None = None
) -> Element:
    return element('text', text, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_=class_)


def ticks(low: float, high: float, about: int = 4) -> dict[float, str]:
    """Some `about` round numbers from `low` to `high`, with their texts."""
    if high <= low:
        return {low: f'{low:g}'}
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step)
    values = [(first + k) * step for k in range(int((high - first * step) / step + 1e-9) + 1)]
    return {value: f'{round(value, 10):g}' for value in values}


def columns(values: Sequence[float | None]) -> list[Point | None]:
    """The values over their places, at most two for each of `FINE` columns: no spike is lost."""
    if len(values) <= 2 * FINE:
        return [None if value is None else (place, value) for place, value in enumerate(values)]
    points: list[Point | None] = []
    for column in range(FINE):
        start, end = (len(values) * k // FINE for k in (column, column + 1))
        known = [(place, v) for place in range(start, end) if (v := values[place]) is not None]
        ends = {min(known, key=_value), max(known, key=_value)} if known else set()
        points += sorted(ends) or [None]
    return points


def _value(point: Point) -> float:
    return point[1]
