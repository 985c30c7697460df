"""JSON from outside, with bounds on what it may hold."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from dgss_core.errors import DgssError

LARGEST_TEXT = 16 << 20
"""Characters of one document."""
DEEPEST = 32
"""Levels of lists and objects in each other."""
LONGEST_NUMBER = 400
"""Characters of one number."""


def load_json(text: str, origin: str) -> Any:
    """Parse a JSON document. `origin`: names it in errors.

    Raises DgssError for text that is not JSON, longer than `LARGEST_TEXT` or nested deeper than
    `DEEPEST`, for a key that occurs twice in one object, and for numbers that are not finite or
    longer than `LONGEST_NUMBER`.
    """

    def refuse(reason: str) -> NoReturn:
        raise DgssError(f'{origin} is not JSON ({reason}); write it again.')

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            refuse('one object holds a key twice')
        return found

    def whole(digits: str) -> int:
        if len(digits) > LONGEST_NUMBER:
            refuse(f'a number has {len(digits)} digits')
        return int(digits)

    def real(digits: str) -> float:
        value = float(digits) if len(digits) <= LONGEST_NUMBER else float('inf')
        if abs(value) == float('inf'):
            refuse('a number is too large')
        return value

    if len(text) > LARGEST_TEXT:
        refuse(f'it has {len(text)} characters, {LARGEST_TEXT} may be')
    if _depth(text) > DEEPEST:
        refuse(f'it nests deeper than {DEEPEST} levels')
    try:
        return json.loads(
            text,
            object_pairs_hook=unique,
            parse_int=whole,
            parse_float=real,
            parse_constant=lambda name: refuse(f'it holds {name}'),
        )
    except ValueError as error:
        raise DgssError(f'{origin} is not JSON ({error}); write it again.') from error


def _depth(text: str) -> int:
    """The levels of lists and objects in each other."""
    depth = deepest = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[][{}]', text, re.DOTALL):
        if token[0] in ('[', '{'):
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in (']', '}'):
            depth -= 1
    return deepest
