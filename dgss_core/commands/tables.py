"""Tables on the console: no fact is cut off, however narrow the terminal or the pipe is."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Column, Table

PROSE = 60
"""Characters to which a column of prose may be folded."""
ENDLESS = 100_000


def print_table(table: Table) -> None:
    """Print a table as wide as it must be; its title and its caption are lines around it.

    A column with `no_wrap` shows whole. Others are folded between words where the console is
    narrow, to `PROSE` characters at the least, and only a word longer than that is wider. Nothing
    is read as markup.
    """
    console, endless = (Console(width=w, markup=False, highlight=False) for w in (None, ENDLESS))
    prose = [column for column in table.columns if not column.no_wrap]
    title, caption, table.title, table.caption = table.title, table.caption, None, None
    for column in prose:
        column.max_width = max(PROSE, _longest_word(column, endless))
    needed = Measurement.get(endless, endless.options, table).maximum
    if needed <= console.width:
        for column in prose:
            column.max_width = None
    else:
        console.width = needed
    if title:
        console.print(title, soft_wrap=True)
    console.print(table)
    if caption:
        console.print(caption, soft_wrap=True)


def _longest_word(column: Column, console: Console) -> int:
    cells: list[RenderableType] = [column.header, *column.cells]
    return max(Measurement.get(console, console.options, cell).minimum for cell in cells)
