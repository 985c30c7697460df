"""The exception for every mistake that a user can fix."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LISTED = 20
"""A message lists up to this many known names in full, and of more only the similar ones."""


SHOWN = 60
"""A message shows up to this many characters of a value from outside."""


class DgssError(Exception):
    """A mistake that the user can fix: one sentence says what is wrong and how to fix it.

    The command line prints it without a traceback and exits with code 2; the node puts it on
    `/diagnostics` or fails the lifecycle transition with it.
    """


def unknown(
    what: str, name: str, known: Iterable[str], *, owner: str = '', also: str = ''
) -> DgssError:
    """The error for a `name` that is not in `known`, with the names to use instead.

    `what`: the kind of name ('encoder'). `owner`: the thing that lacks it, if not the package
    ('Cityscapes has no split ...'). `also`: another accepted form, added to the list.
    """
    known = list(known)
    near = similar(name, known)
    if len(known) <= LISTED or len(near) == len(known):
        advice = f'use one of {", ".join(known)}{also}.' if known else 'leave it out.'
    else:
        advice = f'did you mean {", ".join(near)}{also}?'
    return DgssError(
        f'{f"{owner} has" if owner else "There is"} no {what} {shown(name)}; {advice}'
    )


def shown(value: object, longest: int = SHOWN) -> str:
    """The `repr` of a value from outside, cut to about `longest` characters, for a message."""
    if isinstance(value, str | bytes):
        return repr(value[:longest]) + '...' * (len(value) > longest)
    text = repr(value)
    return text if len(text) <= longest else f'{text[:longest]}...'


def one_line(text: object, longest: int = 300) -> str:
    """A text on one line, cut to about `longest` characters, for a message."""
    line = ' '.join(str(text).split())
    return line if len(line) <= longest else f'{line[:longest]}...'


def similar(name: str, known: Iterable[str]) -> list[str]:
    """The (at most three) names of `known` that are close to `name`; all of them if none is."""
    known = list(known)
    return get_close_matches(name[:SHOWN], known, n=3, cutoff=0.4) or known


def brief(text: str, limit: int = 500) -> str:
    """Shorten a text from outside to at most `limit` characters, for logs and messages."""
    if len(text) <= limit:
        return text
    mark = f' [{len(text)} characters] '
    head = (limit - len(mark)) * 2 // 3
    return text[:head] + mark + text[len(text) - (limit - len(mark) - head) :]
