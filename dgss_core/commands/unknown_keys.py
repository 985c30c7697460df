"""What to say about a key of a config that no section has: its file, and where the key belongs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_type_hints

from dgss_core.errors import one_line
from dgss_core.paths import is_file

IN_GROUP = re.compile(r"Group '(\w+)' does not accept option '([^']+)'")
IN_ENTRY = re.compile(r"^(?:Parser key .+?)?Option '([^']+)' is not accepted")
"""Of jsonargparse, for a key of a section and for one of a mapping in a list."""


def unknown_key(
    message: str, sections: Mapping[str, type], arguments: Sequence[str]
) -> str | None:
    """Return a sentence for a message of jsonargparse about an unknown key; None for another.

    `sections`: the dataclasses of the options with a config. `arguments`: of the command line.
    """
    if found := IN_GROUP.search(message):
        option, key = found.groups()
    elif (found := IN_ENTRY.search(message)) and len(given := _given(sections, arguments)) == 1:
        (option,), key = given, found[1]
    else:
        return None
    value = _given(sections, arguments).get(option, '')
    origin = value if value and is_file(Path(value)) else f'--{option}'
    unknown, kind = '', sections[option]
    for part in key.split('.'):
        unknown = f'{unknown}.{part}'.lstrip('.')
        fields = _fields(kind)
        if part not in fields:
            break
        kind = fields[part]
    name = unknown.rpartition('.')[2]
    owners = [owner for field, owner in _owners(sections[option]) if field == name]
    where = f'; {name} belongs to {" or to ".join(dict.fromkeys(owners))}' if owners else ''
    return f'{origin}: there is no key {one_line(unknown)}{where}'


def _given(sections: Mapping[str, type], arguments: Sequence[str]) -> dict[str, str]:
    """The values of the options with a config."""
    values = {option: value for option, value in pairwise(arguments) if option.startswith('--')}
    values |= dict(each.split('=', 1) for each in arguments if re.match('--[^=]+=', each))
    return {name: values[f'--{name}'] for name in sections if f'--{name}' in values}


def _fields(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass, or of those that a union or a list is of."""
    if is_dataclass(kind) and isinstance(kind, type):
        return get_type_hints(kind)
    return {name: each for part in get_args(kind) for name, each in _fields(part).items()}


def _owners(kind: Any, owner: str = '') -> Iterator[tuple[str, str]]:
    """Yield every field below a section with what it belongs to, in words."""
    for name, field in _fields(kind).items():
        yield name, owner or 'the config itself'
        entry = 'each entry of ' if getattr(field, '__origin__', None) is list else ''
        yield from _owners(field, f'{entry}{name}' + (f' of {owner}' if owner else ''))
