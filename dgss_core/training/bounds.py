"""Bounds of the numbers of a recipe."""

from __future__ import annotations

from collections.abc import Sequence

from dgss_core.errors import DgssError

LONGEST_SIDE = 1 << 22
"""Pixels of a crop."""


def within(low: float, high: float, **values: float | Sequence[float] | None) -> None:
    """Raise DgssError for a number, or one of several, outside `low` to `high`; None may be.

    The values are named as in the recipe.
    """
    for name, value in values.items():
        numbers = value if isinstance(value, Sequence) else [] if value is None else [value]
        # `not low <= ...` refuses nan too.
        if any(not low <= number <= high for number in numbers):
            raise DgssError(f'{name} is {value}; give {low:g} to {high:g}.')
