"""Parses the options of a verb by its signature, with the standard library alone.

The verbs of a vehicle use it: a ROS installation has no jsonargparse. `parser` serves the rest.
"""

from __future__ import annotations

import inspect
import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from dgss_core.errors import DgssError, one_line, shown

SIMPLE = {
    str: ('text', str),
    Path: ('path', Path),
    int: ('whole number', int),
    float: ('number', float),
}
"""Types of a value, with their name and what reads it."""
LOGICAL = {'true': True, 'false': False}


class PlainParser(ArgumentParser):
    """Raises DgssError for wrong options, to report them like all other mistakes."""

    def error(self, message: str) -> NoReturn:
        text = ''.join(c if c.isprintable() else shown(c)[1:-1] for c in one_line(message, 2000))
        raise DgssError(f'{text.rstrip(".")}; see {self.prog} --help.')


def is_plain(kinds: Mapping[str, Any]) -> bool:
    """Whether all parameters, by their types, are values that need no YAML."""
    return all(_is_plain(kind) for name, kind in kinds.items() if name != 'return')


def parse_plain(
    function: Callable[..., Any],
    kinds: Mapping[str, Any],
    prog: str,
    arguments: Sequence[str],
) -> dict[str, Any]:
    """The values of all parameters of a function. Raises DgssError for wrong arguments.

    Parameters before the `*` in the signature are positional, those after it are options. The
    option --from belongs to a parameter from_, as `from` is a word of Python.
    """
    text = inspect.getdoc(function) or ''
    parser = PlainParser(prog=prog, description=text.split('\n\n')[0], allow_abbrev=False)
    helps = described(text)
    parameters = inspect.signature(function).parameters
    switches, lists, options = set(), set(), set()
    for name, parameter in parameters.items():
        kind, is_list = _element(kinds[name])
        about: dict[str, Any] = {'help': _escape(helps.get(name, '')), **_reading(kind)}
        if parameter.kind is not parameter.KEYWORD_ONLY:
            about |= {'nargs': '+'} if is_list else {}
            parser.add_argument(name, **about)
            continue
        option = f'--{name.rstrip("_").replace("_", "-")}'
        options.add(option)
        if kind is not bool and 'choices' not in about:
            about.setdefault('metavar', name.strip('_').upper())
        required = parameter.default is parameter.empty
        about |= {'required': True} if required else {'default': parameter.default}
        if not required and parameter.default not in (None, ''):
            about['help'] += f' (default: {_escape(_written(parameter.default))})'
        if is_list:
            lists.add(option)
            about |= {'action': 'extend', 'nargs': '+'}
        if kind is bool:
            switches.add(option)
        parser.add_argument(option, dest=name, **about)
    # The values of a list are appended one by one.
    single = [
        a.replace('+=', '=', 1) if a.partition('+=')[0] in lists else a
        for a in each(arguments, lists, options)
    ]
    given = switched(single, switches)
    return vars(parser.parse_args([*given]))


def switched(arguments: Sequence[str], switches: Collection[str]) -> Iterator[str]:
    """The arguments with a value for each option of a boolean, which may stand alone."""
    for argument, following in zip_longest(arguments, arguments[1:]):
        alone = argument in switches and following not in LOGICAL
        yield f'{argument}=true' if alone else argument


def each(
    arguments: Sequence[str], lists: Collection[str], options: Collection[str]
) -> Iterator[str]:
    """The arguments with each value of an option in `lists` as one argument, --data+=VALUE.

    `--data A B --data C` gives it three values. --label_set is taken for --label-set, if that is
    one of the `options`. Raises DgssError for an option in `lists` without a value.
    """
    several = ''
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue='--'):
        name, given, value = argument.partition('=')
        if not argument.startswith('--'):
            yield f'{several}+={argument}' if several else argument
            continue
        known = f'--{name[2:].replace("_", "-")}'
        name = known if known in options else name
        several = name if name in lists else ''
        if not several:
            yield f'{name}{given}{value}'
        elif given:
            yield f'{several}+={value}'
        elif following.startswith('--'):
            raise DgssError(f'{several} needs a value, or several.')


def described(text: str) -> dict[str, str]:
    """What the section Args of a docstring says of each parameter."""
    _, _, section = text.partition('\nArgs:\n')
    found: dict[str, str] = {}
    name = ''
    for line in section.splitlines():
        if line and not line.startswith(' '):
            break
        if entry := re.match(r' {4}(\w+): (.*)', line):
            name = entry[1]
            found[name] = entry[2]
        elif name and line.strip():
            found[name] += f' {line.strip()}'
    return found


def _element(kind: Any) -> tuple[Any, bool]:
    """The type of a value, without None, and whether an option takes several."""
    if get_origin(kind) in (Union, UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        kind = parts[0] if len(parts) == 1 else kind
    return (get_args(kind)[0], True) if get_origin(kind) is list else (kind, False)


def _is_plain(kind: Any) -> bool:
    kind, _ = _element(kind)
    return kind in (bool, *SIMPLE) or get_origin(kind) is Literal


def _reading(kind: Any) -> dict[str, Any]:
    """How argparse reads a value of a type."""
    if kind is bool:
        return {'type': _boolean, 'metavar': '{true,false}'}
    if get_origin(kind) is Literal:
        return {'choices': get_args(kind)}
    name, read = SIMPLE[kind]

    def value(text: str) -> Any:
        if kind is Path and not text:
            raise ArgumentTypeError('an empty text is no path; is a variable of the shell unset?')
        try:
            return read(text)
        except ValueError:
            raise ArgumentTypeError(f'{shown(text)} is not a {name}') from None

    return {'type': value}


def _written(value: Any) -> str:
    """A value as it is given on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _boolean(text: str) -> bool:
    if text not in LOGICAL:
        raise ArgumentTypeError(f'{shown(text)} is neither true nor false')
    return LOGICAL[text]


def _escape(text: str) -> str:
    return text.replace('%', '%%')
