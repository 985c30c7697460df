"""The parser of verbs with a config: options and configs are values, never names of code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, set_loader, set_parsing_settings

from dgss_core.commands.plain_parser import each, switched
from dgss_core.commands.sections import check_sections, kind_of, unknown_key
from dgss_core.documents import load_yaml, read_yaml
from dgss_core.errors import DgssError, one_line, shown
from dgss_core.paths import is_file, located, missing

CODE = {'class_path', 'init_args', 'dict_kwargs', '__path__'}
"""Keys by which jsonargparse imports and calls what a value names."""

SECTIONS = ('dgss_core.training', 'dgss_core.networks.inference')
"""Modules with the dataclasses of a config, which jsonargparse looks up by their names."""

_working: ContextVar[Path | None] = ContextVar('the working folder of the command', default=None)


REQUIRED = re.compile(r'the following arguments are required: ([^;]+)')
"""Of jsonargparse, for options without a value."""


NO_SECTION = re.compile(
    r"Importing '(.+?)' is not allowed|Expected a dot import path string: (.+)"
    r'|Not a valid subclass of \w+\. Got value: (.+?) Subclass types'
)
"""Of jsonargparse, for a value where a section is expected."""


class Help(DefaultHelpFormatter):
    """Names types as they are written, not as Python shows them."""

    def _expand_help(self, action: Any) -> str:
        return _written(super()._expand_help(action))


class Parser(ArgumentParser):
    """Raises DgssError for wrong options, to report them like all other mistakes."""

    def parse_args(self, *arguments: Any, **options: Any) -> Any:
        token = _working.set(Path.cwd())
        try:
            return super().parse_args(*arguments, **options)
        finally:
            _working.reset(token)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        first = ' '.join(message.split())
        unreadable = list(re.finditer(r'Unable to load config [\'"](.+?)[\'"]', first))
        path = Path(unreadable[0][1]) if unreadable else None
        if found := NO_SECTION.search(first):
            first = _why_no_section(path, first, next(filter(None, found.groups())))
        elif unreadable and path and is_file(path) and not is_file(Path(unreadable[-1][1])):
            first = _why_no_section(path, first, unreadable[-1][1])
        elif unreadable and path:
            first = _why_unreadable(path, first[unreadable[0].end() :])
        sentence = one_line(_written(first), 2000).rstrip('.')
        raise DgssError(f'{sentence}; see {self.prog} --help.') from ex


def checked(
    arguments: Sequence[str], switches: Collection[str], sections: Mapping[str, type]
) -> Iterator[str]:
    """The arguments as jsonargparse takes them; none of them names code.

    `switches`: options of a boolean, which may stand alone (`--overwrite`). `sections`: the
    dataclasses of options whose value is a YAML file or a mapping, by their names. Raises
    DgssError for a config that is missing or not YAML, for a key in `CODE`, and for a value that
    is no section where one is expected.
    """
    before, whole = '', {f'--{name}': kind for name, kind in sections.items()}
    for argument in switched(arguments, switches):
        option, given, value = argument.partition('=')
        if argument.startswith('--') and CODE & set(option[2:].rstrip('+').split('.')):
            raise _names_code(option, option.rpartition('.')[2])
        if before in whole:
            argument = _section(before, argument, whole[before])
        elif option in whole and given:
            argument = f'{option}={_section(option, value, whole[option])}'
        else:
            if any(key in argument for key in CODE):
                _check_inline(argument)
                if given:
                    _check_inline(value)
            name, text = (option, value) if given else (before, argument)
            if (kind := kind_of(name, sections)) is not None:
                _check_kind(name, text, kind)
        before = argument
        yield argument


def parse_with_sections(
    function: Callable[..., Any], kinds: Mapping[str, Any], prog: str, arguments: Sequence[str]
) -> dict[str, Any]:
    """The values of all parameters of a function. Raises DgssError for wrong arguments.

    Parameters before the `*` in the signature are positional, those after it are options. An
    option may be a section: a dataclass, from a YAML file or a mapping.
    """
    parameters = inspect.signature(function).parameters.values()
    options = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    positional = {p.name for p in parameters} - options
    about = (inspect.getdoc(function) or '').split('\n\n')[0]
    parser = Parser(prog=prog, description=about, formatter_class=Help)
    for skip, as_positional in ((options, True), (positional, False)):
        parser.add_function_arguments(
            function, as_group=False, as_positional=as_positional, skip={*skip}
        )
    switches = {f'--{p.name}' for p in parameters if isinstance(p.default, bool)}
    classes = {name: kinds[name] for name in options if is_dataclass(kinds.get(name))}
    arguments = [*each(arguments, (), {f'--{name}' for name in options})]
    given = list(checked(arguments, switches, classes))
    try:
        parsed = parser.parse_args(given)
    except DgssError as error:
        sentence = _missing(str(error), positional, classes, arguments)
        sentence = sentence or unknown_key(str(error), classes, arguments)
        if sentence is None:
            raise
        raise DgssError(f'{sentence}; see {prog} --help.') from error
    try:
        values = parser.instantiate(parsed)
    except ValueError as error:
        # If an optional section raises DgssError for its values, the parser hides it behind a
        # ValueError that says the section matches no type.
        cause = error.__cause__
        while cause is not None and not isinstance(cause, DgssError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None
    return {name: values[name] for name in positional | options}


def _missing(
    message: str, positional: Collection[str], sections: Collection[str], arguments: Sequence[str]
) -> str | None:
    """What to give, for a message of jsonargparse about options without a value; None for another.

    `sections`: options with a config; of one that is not given, not each key is named.
    """
    if not (found := REQUIRED.search(message)):
        return None
    given = {re.split('[=.]', argument)[0] for argument in arguments}
    names = []
    for name in found[1].split(', '):
        option = name.partition('.')[0]
        whole = option in sections and f'--{option}' not in given
        written = f'--{option} FILE' if whole else f'--{name}'
        names.append(name.upper() if name in positional else written)
    return f'Give {", ".join(dict.fromkeys(names))}'


def _section(option: str, value: str, kind: type) -> str:
    """The value of an option that takes a YAML file or a mapping, after a check of its content."""
    path = Path(value)
    found = is_file(path)
    content = read_yaml(path) if found else load_yaml(value, option)
    if not isinstance(content, dict):
        advice = f'give {option} the path of a YAML file'
        if found:
            raise DgssError(f'{path} holds no keys; {advice}.')
        raise missing('file', Path(one_line(value)), advice)
    _check(content, str(path) if found else option)
    check_sections(content, kind, str(path) if found else option)
    # A bare name like recipe.yaml would be taken for the name of a module.
    return f'./{value}' if found and '/' not in value else value


def _check_kind(option: str, value: str, kind: Any) -> None:
    try:
        content = load_yaml(value, option)
    except DgssError:
        return
    check_sections(content, kind, option)


def _check_inline(value: str) -> None:
    try:
        content = load_yaml(value, 'A value')
    except DgssError:
        return
    _check(content, shown(value))


def _check(content: Any, origin: str) -> None:
    """Raise DgssError if a mapping in `content` has a key in `CODE`."""
    waiting = [(content, '')]
    while waiting:
        entry, where = waiting.pop()
        if isinstance(entry, dict):
            if found := CODE & {key for key in entry if isinstance(key, str)}:
                raise _names_code(f'{origin}: {where}' if where else origin, min(found))
            waiting += [(part, f'{where}.{key}'.lstrip('.')) for key, part in entry.items()]
        elif isinstance(entry, list):
            waiting += [(part, where) for part in entry]


def _names_code(where: str, key: str) -> DgssError:
    return DgssError(
        f'{one_line(where)} has the key {key}, which names code to run; a config holds values '
        'only, remove that key.'
    )


def _load(text: str) -> Any:
    """The loader of jsonargparse, for config files and for single values."""
    try:
        content = load_yaml(text, 'The value')
    except DgssError as error:
        # jsonargparse keeps such a value as text where an option takes text.
        raise yaml.YAMLError(str(error)) from error
    _check(content, 'A config')
    # While it reads a config file, jsonargparse works in the folder of that file.
    return located(content, Path.cwd(), _working.get() or Path.cwd())


def _written(text: str) -> str:
    """`text` with types as they are written, not as Python shows them."""
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r'\1', text)
    return re.sub(r'\ba (?=int\b)', 'an ', text)


def _why_no_section(path: Path | None, text: str, name: str) -> str:
    """The reason in a message of jsonargparse that a value is the name of a class or a module."""
    keys = re.findall(r'Parser key "(?:config\.)?([^"]+)"', text)
    where = ': '.join([*([str(path)] if path and is_file(path) else []), *keys[-1:]])
    if '/' in name:
        return f'{where or "A section"}: {missing("file", Path(name), "correct the path")}'
    return (
        f'{where or "A section"}: {shown(name)} is neither a section nor the path of its file; '
        f'write its keys as a mapping, or the path with a slash (./{one_line(name)})'
    )


def _why_unreadable(path: Path, text: str) -> str:
    """The reason in the message of jsonargparse for a config file that it rejects."""
    if not is_file(path):
        return str(missing('file', path, 'correct the path')).rstrip('.')
    keys = re.findall(r'Parser key "(?:config\.)?([^"]+)"', text)
    unfit = r"Option '[^']+' is not accepted|Expected an? (?!<class 'None).+? Got value: [^;]+"
    reason = re.search(unfit, text)
    return ': '.join([str(path), *keys, reason[0] if reason else text.strip(' -')])


set_parsing_settings(
    instantiate_subclass_spec_in_any=False,
    import_path_denylist=['*'],
    import_path_allowlist=list(SECTIONS),
)
set_loader('yaml', _load, exceptions=(yaml.YAMLError,))
