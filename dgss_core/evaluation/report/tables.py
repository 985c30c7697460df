"""The tables of a report: plain ones, and those whose cells are coloured by their value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dgss_core.evaluation.report.elements import (
    NOT_MEASURED,
    Content,
    Element,
    element,
    figure,
    signed,
)

HEAT = np.array([(179, 88, 6), (224, 150, 72), (242, 238, 232), (146, 197, 222), (33, 102, 172)])
"""Orange, pale, blue, for 0 to 1: told apart also by people who see red and green as one."""
LUMA = np.array([0.2126, 0.7152, 0.0722])
EVEN = 0.179
"""The luminance on which black and white text have the same contrast, 4.6 (WCAG 2.2)."""


def table(
    caption: str,
    heads: Sequence[Content],
    rows: Iterable[Sequence[Content]],
    *,
    class_: str | None = None,
) -> Element | None:
    """A table whose first column names its rows; None without rows.

    A cell that is an element with the tag `td` is taken as it is.
    """
    made = [(first, [_cell(cell) for cell in rest]) for first, *rest in rows]
    if not made:
        return None
    body = [
        element('tr', element('th', element('span', first), scope='row'), cells)
        for first, cells in made
    ]
    kinds = [None, *('words' if cell.get('class') == 'words' else None for cell in made[0][1])]
    head = element(
        'tr',
        [
            element('th', text, scope='col', class_=kind)
            for text, kind in zip(heads, kinds, strict=True)
        ],
    )
    whole = element(
        'table',
        element('caption', caption),
        element('thead', head),
        element('tbody', body),
        class_=class_,
    )
    return scrolling(whole, caption)


def scrolling(content: Element, name: str) -> Element:
    """`content`, which scrolls by itself where it is wider than the page."""
    # A box that scrolls is of use to the keyboard only if it takes the focus.
    return element('div', content, class_='scroll', role='group', aria_label=name, tabindex='0')


def _cell(content: Content) -> Element:
    if isinstance(content, Element) and content.tag == 'td':
        return content
    unknown = content == NOT_MEASURED
    return element('td', content, class_='unknown' if unknown else None)


def words(content: Content) -> Element:
    """A cell of text, which is aligned to the left."""
    return element('td', element('span', content), class_='words')


def heat_table(
    caption: str,
    corner: str,
    heads: Sequence[str],
    rows: Mapping[str, Sequence[float | None]],
    *,
    colors: Mapping[str, Sequence[int]] | None = None,
    instead: Mapping[tuple[str, str], str] | None = None,
) -> Element | None:
    """A table whose cells, 0 to 1, carry their value and its colour.

    `colors`: RGB of rows that stand for a class. `instead`: by row and head, the words in a cell
    without a value.
    """
    colors, instead = colors or {}, instead or {}
    return table(
        caption,
        [corner, *heads],
        [
            [
                [swatch(colors[name]) if name in colors else None, name],
                *(
                    _hot(value, figure(value))
                    if value is not None
                    else instead.get((name, head), NOT_MEASURED)
                    for head, value in zip(heads, values, strict=True)
                ),
            ]
            for name, values in rows.items()
        ],
        class_='heat',
    )


def difference_table(
    caption: str,
    corner: str,
    heads: Sequence[str],
    rows: Mapping[str, Sequence[float | None]],
    sure: Mapping[tuple[str, str], bool],
) -> Element | None:
    """As `heat_table`, of differences around 0: blue is better, orange worse.

    `sure`: by row and head, whether the interval leaves out 0; such cells are bold.
    """
    values = [abs(v) for row in rows.values() for v in row if v is not None]
    most = max([0.01, *values])

    def cell(name: str, head: str, value: float | None) -> Content:
        if value is None:
            return NOT_MEASURED
        text: Content = signed(value)
        return _hot(0.5 + value / most / 2, element('b', text) if sure[name, head] else text)

    cells = [
        [name, *(cell(name, head, v) for head, v in zip(heads, row, strict=True))]
        for name, row in rows.items()
    ]
    return table(caption, [corner, *heads], cells, class_='heat')


def _hot(value: float, content: Content) -> Element:
    color, ink = heat(value)
    return element('td', content, style=f'background:{color};color:{ink}')


def heat(value: float) -> tuple[str, str]:
    """The colour of a value 0..1, and that of readable text on it, for CSS."""
    place = min(1.0, max(0.0, value)) * (len(HEAT) - 1)
    rgb = [np.interp(place, range(len(HEAT)), HEAT[:, channel]) for channel in range(3)]
    linear = (np.array(rgb) / 255) ** 2.2
    return f'rgb({",".join(f"{v:.0f}" for v in rgb)})', '#000' if linear @ LUMA > EVEN else '#fff'


def swatch(color: Sequence[int]) -> Element:
    """A small square of a class's RGB colour."""
    return element('i', class_='swatch', style=f'background:rgb({",".join(map(str, color))})')


def side_by_side(*parts: Element | None) -> Element | None:
    """Small tables in one row, where the page is wide enough."""
    known = [part for part in parts if part is not None]
    return element('div', known, class_='side') if known else None
