"""Limits of the numbers that a command takes."""

from __future__ import annotations

from dgss_core.errors import DgssError


def at_least(least: int, **options: float) -> None:
    """Raise DgssError for an option below `least`, named as on the command line."""
    for name, value in options.items():
        # Not `value < least`, which does not refuse nan.
        if not value >= least:
            raise DgssError(f'--{name.replace("_", "-")} is {value}; give at least {least}.')


def above(bound: float, **options: float) -> None:
    """Raise DgssError for an option that is not above `bound`, named as on the command line."""
    for name, value in options.items():
        if not value > bound:
            raise DgssError(f'--{name.replace("_", "-")} is {value}; give more than {bound}.')
