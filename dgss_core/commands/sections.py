"""The sections of a config, which are dataclasses: what fits one, and where a key belongs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from dgss_core.errors import DgssError, one_line, shown
from dgss_core.paths import is_file

IN_GROUP = re.compile(r"Group '(\w+)' does not accept option '([^']+)'")
IN_ENTRY = re.compile(r"^(?:Parser key .+?)?Option '([^']+)' is not accepted")
"""Of jsonargparse, for a key of a section and for one of a mapping in a list."""
UNFIT_ENTRY = re.compile(r'^Parser key "([^"]+)": (Expected .+?); see ')
"""Of jsonargparse, for a value in a mapping of a list."""


def check_sections(value: Any, kind: Any, where: str) -> None:
    """Raise DgssError if a value of a config is no section and `kind`, a type, asks for one.

    `where`: the file and the key, for the message. Text is left to the parser: it may be the path
    of a section.
    """
    parts = get_args(kind)
    left_out = value is None and NoneType in parts
    if get_origin(kind) is list and is_dataclass(parts[0]):
        if not isinstance(value, list):
            raise DgssError(
                f'{where} is {shown(value)}; write a list, with "-" before each entry.'
            )
        for index, entry in enumerate(value, 1):
            if not isinstance(entry, dict):
                raise DgssError(
                    f'{where}: entry {index} is {shown(entry)}; write its keys as a mapping, such '
                    f'as {next(iter(_fields(parts[0])))}: NAME.'
                )
            check_sections(entry, parts[0], f'{where}: entry {index}')
    elif isinstance(value, dict):
        for name, field in _fields(kind).items():
            if name in value:
                check_sections(value[name], field, f'{where}: {name}')
    elif any(map(is_dataclass, (kind, *parts))) and not (isinstance(value, str) or left_out):
        raise DgssError(f'{where} is {shown(value)}; write its keys as a mapping.')


def kind_of(option: str, sections: Mapping[str, type]) -> Any:
    """The type of an option such as `--config.optimiser`; None if it is no part of a config.

    `sections`: the dataclasses of the options with a config.
    """
    first, *keys = option.split('.')
    kind: Any = sections.get(first[2:]) if first.startswith('--') else None
    for key in keys:
        kind = _fields(kind).get(key)
    return kind


def unknown_key(
    message: str, sections: Mapping[str, type], arguments: Sequence[str]
) -> str | None:
    """Return a sentence for a message of jsonargparse about an unknown key; None for another.

    So it does about an unfit value of an entry of a list, which jsonargparse tells without its
    file. `sections`: the dataclasses of the options with a config. `arguments`: of the command
    line.
    """
    given = _given(sections, arguments)
    if found := IN_GROUP.search(message):
        option, key = found.groups()
    elif len(given) == 1 and (found := IN_ENTRY.search(message) or UNFIT_ENTRY.search(message)):
        (option,), key = given, found[1]
    else:
        return None
    value = given.get(option, '')
    origin = value if value and is_file(Path(value)) else f'--{option}'
    if found.re is UNFIT_ENTRY:
        return f'{origin}: {key}: {found[2]}'
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
