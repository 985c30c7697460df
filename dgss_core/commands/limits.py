"""Limits of the numbers that a command takes."""

from __future__ import annotations

from collections.abc import Mapping

from dgss_core.errors import DgssError


def refuse_useless(needed: tuple[str, object], options: Mapping[str, object]) -> None:
    """Raise DgssError for one of `options` that is given without the option it belongs to."""
    name, value = needed
    for option, given in options.items():
        if given and not value:
            raise DgssError(f'--{option} has no effect without --{name}; leave it out.')


def at_least(least: int, **options: float | None) -> None:
    """Raise DgssError for an option below `least`, named as on the command line; None may be."""
    for name, value in options.items():
        # Not `value < least`, which does not refuse nan.
        if value is not None and not value >= least:
            raise DgssError(f'--{name.replace("_", "-")} is {value}; give at least {least}.')


def above(bound: float, **options: float | None) -> None:
    """Raise DgssError for an option that is not above `bound`, named as there; None may be."""
    for name, value in options.items():
        if value is not None and not value > bound:
            raise DgssError(f'--{name.replace("_", "-")} is {value}; give more than {bound}.')
