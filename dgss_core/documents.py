"""YAML and JSON from outside: plain values of bounded size, or one sentence about the fault."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dgss_core.errors import DgssError, one_line, shown, why_not
from dgss_core.paths import read_bounded

LARGEST_YAML = 1 << 20
LARGEST_JSON = 1 << 25
"""Both in bytes."""
MOST_VALUES = 100_000
"""Values of a YAML document after its aliases are replaced."""
DEEPEST = 64
LONGEST_NUMBER = 64
"""Characters."""

_PLAIN = ('null', 'bool', 'int', 'float', 'str', 'seq', 'map')
_MERGE = 'tag:yaml.org,2002:merge'
_FLOAT = re.compile(
    r'^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+'
    r'|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$'
)
_FOREIGN = re.compile('[\udc80-\udcff]')
"""Bytes of a path that are no UTF-8, as Python reads them."""
_UNPRINTABLE = re.compile('[\0\ud800-\udfff]')


def load_yaml(text: str | bytes, origin: str, largest: int = LARGEST_YAML) -> Any:
    """The content of a YAML document: dicts, lists, texts, finite numbers, booleans and None.

    Dates stay text, and 1e-3 is a number, as in YAML 1.2. Raises DgssError, which names `origin`,
    for a syntax error, more than `largest` bytes, `MOST_VALUES` values or `DEEPEST` levels, a key
    that is given twice, a tag, and a number that is too long or not finite.
    """
    decoded = _decoded(text, origin, largest)
    try:
        _check_events(decoded)
        loader = _Loader(decoded)
        try:
            node = loader.get_single_node()
            _check_node(node, loader, {})
            value = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
        _check_values(value)
    except (yaml.YAMLError, ValueError, TypeError, LookupError) as error:
        raise _unusable(origin, 'YAML', error) from error
    return value


def load_json(
    text: str | bytes, origin: str, largest: int = LARGEST_JSON, *, nan: bool = False
) -> Any:
    """The content of a JSON document. Raises DgssError for the same faults as `load_yaml`.

    With `nan`, NaN is read as None.
    """
    decoded = _decoded(text, origin, largest)
    try:
        value = json.loads(
            decoded,
            object_pairs_hook=_unique,
            parse_constant=_nan_as_none if nan else _refuse_constant,
            parse_int=_short_integer,
        )
        _check_values(value)
    except (ValueError, RecursionError) as error:
        raise _unusable(origin, 'JSON', error) from error
    return value


def read_yaml(path: Path, largest: int = LARGEST_YAML) -> Any:
    """`load_yaml` of a file, or of the pipe of a shell, which can be read once.

    Raises DgssError also if it cannot be read or is of another kind.
    """
    refuse_other_kind(path)
    return load_yaml(read_bounded(path, largest), str(path), largest)


def read_json(path: Path, largest: int = LARGEST_JSON) -> Any:
    """`load_json` of a file. Raises DgssError also if it cannot be read or is of another kind."""
    refuse_other_kind(path)
    return load_json(read_bounded(path, largest), str(path), largest)


def dump_json(content: Any) -> bytes:
    """Plain values as JSON, in UTF-8; a byte of a path that is none as an escape: `caf\\xe9`.

    Raises ValueError for nan.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return _FOREIGN.sub(lambda byte: rf'\\x{ord(byte[0]) - 0xDC00:02x}', text).encode()


def fault_of(error: Exception) -> str:
    """What is wrong with a document in which a value was not found or not usable.

    `error`: what Python raised for it, whose words are about code and not about the document.
    """
    if isinstance(error, KeyError) and error.args:
        return f'it has no {shown(error.args[0])}'
    if isinstance(error, TypeError | AttributeError | LookupError):
        return 'a value is of another kind than it must be'
    return one_line(error)


def refuse_other_kind(path: Path) -> None:
    """Raise DgssError if the first bytes of a file show that it is no document, and what it is.

    Of a pipe nothing is read.
    """
    if what := why_not(path, 'empty'):
        raise DgssError(f'{path} is {what}.')


class _Loader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):  # type: ignore[misc]
    """Constructs plain values only; every other tag is an error."""

    yaml_constructors: ClassVar[dict[Any, Any]] = {
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(':')[2] in _PLAIN
    }
    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {
        first: [
            *(pair for pair in resolvers if not pair[0].endswith((':timestamp', ':float'))),
            *([('tag:yaml.org,2002:float', _FLOAT)] if first in '-+0123456789.' else []),
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _decoded(text: str | bytes, origin: str, largest: int) -> str:
    try:
        data = text if isinstance(text, bytes) else text.encode()
        if len(data) > largest:
            raise DgssError(
                f'{origin} is longer than {largest / (1 << 20):g} MiB; such a file holds no more '
                'than that, give the right one.'
            )
        return data.decode('utf-8-sig')
    except UnicodeError as error:
        raise DgssError(f'{origin} is not UTF-8 text ({error}); save it as UTF-8.') from error


def _unusable(origin: str, kind: str, error: Exception) -> DgssError:
    reason = f'deeper than {DEEPEST} levels' if isinstance(error, RecursionError) else str(error)
    fault = 'is not JSON' if kind == 'JSON' else 'is not readable as YAML'
    return DgssError(f'{origin} {fault}: {one_line(reason)}; correct it, or write it again.')


def _check_events(text: str) -> None:
    """Bound the size and the depth before anything is built, which recurses."""
    depth = count = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        count += isinstance(event, yaml.NodeEvent)
        _check_size(count, depth)


def _check_size(count: int, depth: int) -> None:
    if count > MOST_VALUES:
        raise ValueError(f'it has more than {MOST_VALUES} values, aliases replaced')
    if depth > DEEPEST:
        raise ValueError(f'it is deeper than {DEEPEST} levels')


def _check_node(
    node: Node | None, loader: Any, known: dict[int, tuple[int, int] | None]
) -> tuple[int, int]:
    """The number of values and levels of a node, aliases replaced.

    Raises ValueError if it has too many, holds itself, or has a key twice.
    """
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise ValueError('a value holds itself')
        return size
    known[id(node)] = None
    children: list[Node] = []
    if isinstance(node, MappingNode):
        _check_keys(node, loader)
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, SequenceNode):
        children = node.value
    elif isinstance(node, ScalarNode) and node.tag.endswith((':int', ':float')):
        _check_length(node.value)
    measured = [_check_node(child, loader, known) for child in children]
    count = 1 + sum(count for count, _ in measured)
    depth = bool(children) + max((depth for _, depth in measured), default=0)
    _check_size(count, depth)
    known[id(node)] = count, depth
    return count, depth


def _check_keys(node: MappingNode, loader: Any) -> None:
    """Raise ValueError for a key that is no scalar or is given twice."""
    seen = set()
    for key, _ in node.value:
        if key.tag == _MERGE:
            continue
        if not isinstance(key, ScalarNode):
            raise ValueError('a key is a list or a mapping')
        if key.tag.endswith((':int', ':float')):
            _check_length(key.value)
        value = loader.construct_object(key)
        if value in seen:
            raise ValueError(f'the key {shown(value)} is given twice')
        seen.add(value)


def _check_length(number: str) -> str:
    if len(number) > LONGEST_NUMBER:
        raise ValueError(f'a number has {len(number)} characters')
    return number


def _check_values(value: Any) -> None:
    """Raise ValueError for numbers that are not finite, text that cannot be written, and depth."""
    level, depth = [value], 0
    while level:
        for entry in level:
            if isinstance(entry, float) and not math.isfinite(entry):
                raise ValueError(f'{entry} is not a finite number')
            if isinstance(entry, str) and (wrong := _UNPRINTABLE.search(entry)):
                code = f'U+{ord(wrong.group()):04X}'
                raise ValueError(f'the text {shown(entry)} holds {code}, which no text can hold')
        lists = [entry for entry in level if isinstance(entry, list)]
        maps = [entry for entry in level if isinstance(entry, dict)]
        depth += bool(lists or maps)
        _check_size(0, depth)
        level = [item for entry in (*lists, *maps) for item in entry]
        level += [item for entry in maps for item in entry.values()]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f'the key {shown(twice)} is given twice')
    return found


def _nan_as_none(name: str) -> None:
    if name != 'NaN':
        _refuse_constant(name)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f'{name} is not a finite number')


def _short_integer(digits: str) -> int:
    return int(_check_length(digits))
