"""Checks a catalog file and makes its entries; a wrong key or value is named in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote, urlsplit

from dgss_core.documents import read_yaml
from dgss_core.errors import DgssError, shown
from dgss_core.published.entry import PINS, Checkpoint, Fetch, Figure, PublishedTest
from dgss_core.published.terms import data_terms, licences

NAME = re.compile(r'[a-z0-9][a-z0-9.-]{0,79}')
FILE = re.compile(r'[A-Za-z0-9][\w.+()-]{0,199}')
DIGITS = {'sha256': 64, 'git_blob': 40, 'md5': 32}
"""Hexadecimal digits of a whole digest; the first six or more may stand for it."""
FAMILY = {'title', 'defaults', 'checkpoints'}


def read_family(path: Path) -> dict[str, Checkpoint]:
    """The entries of a catalog file by name. Raises DgssError for the first fault."""
    content = read_yaml(path)
    if (
        not isinstance(content, dict)
        or set(content) - FAMILY
        or not FAMILY - {'defaults'} <= set(content)
    ):
        raise DgssError(f'{path} is no catalog; it needs the keys title and checkpoints.')
    if not isinstance(content['checkpoints'], dict) or not isinstance(content['title'], str):
        raise DgssError(f'{path} is no catalog; checkpoints must map names to their keys.')
    defaults = content.get('defaults') or {}
    entries = {}
    for name, own in content['checkpoints'].items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise DgssError(f'{path} has the name {shown(name)}; use a-z, 0-9, dots and dashes.')
        if name == PINS:
            raise DgssError(f'{path} has the name {name}, which is taken; rename it.')
        if not isinstance(own, dict) or not isinstance(defaults, dict):
            raise DgssError(f'{path}: {name} has no keys; give at least its address.')
        entries[name] = _entry(name, path, content['title'], {**defaults, **own})
    return entries


def _entry(name: str, path: Path, title: str, content: Mapping[str, Any]) -> Checkpoint:
    origin = f'{path}: {name}'
    if unknown := set(content) - set(CHECKS):
        raise DgssError(f'{origin} has the unknown key {shown(sorted(map(str, unknown))[0])}.')
    for key, value in content.items():
        if value is not None and not CHECKS[key](value):
            raise DgssError(f'{origin} has an unusable value for {key}: {shown(value)}.')
    values = {key: value for key, value in content.items() if value is not None}
    if 'labels' in content:
        values['labels'] = content['labels']
    if 'address' not in values:
        raise DgssError(f'{origin} has no address.')
    values['digests'] = {key: values.pop(key) for key in DIGITS if key in values}
    for key in ('trained_on', 'notes', 'mean', 'std'):
        values[key] = tuple(values.get(key, ()))
    values['figures'] = tuple(Figure(**figure) for figure in values.get('figures', ()))
    if 'recipe' in values:
        whole = values['recipe'] == 'whole'
        values['recipe'] = PublishedTest() if whole else PublishedTest(**values['recipe'])
    entry = Checkpoint(name=name, family=path.stem, title=title, **values)
    return _placed(entry, origin)


def _placed(entry: Checkpoint, origin: str) -> Checkpoint:
    """The entry with the name of its file; its address must suit the way it is fetched."""
    library = entry.address.startswith(('timm:', 'open_clip:'))
    if library != (entry.fetch == 'library'):
        raise DgssError(f'{origin} has an address that does not suit fetch: {entry.fetch}.')
    if entry.fetch == 'manual' and not entry.by_hand:
        raise DgssError(f'{origin} is fetched by hand and lacks by_hand, which says what to take.')
    if library or entry.file:
        return entry
    file = unquote(urlsplit(entry.address).path.rpartition('/')[2])
    if not FILE.fullmatch(file):
        raise DgssError(f'{origin} has an address without the name of a file; give it as file.')
    return Checkpoint(**{**vars(entry), 'file': file})


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_address(value: Any) -> bool:
    if not _is_text(value) or ' ' in value:
        return False
    try:
        parts = urlsplit(value)
    except ValueError:  # such as http://[
        return False
    return (parts.scheme in ('http', 'https') and bool(parts.netloc) and '@' not in value) or (
        parts.scheme in ('timm', 'open_clip') and bool(parts.path)
    )


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value <= 8192


def _are_channels(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(v) is float for v in value)


def _are_figures(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(figure, dict)
        and {'data', 'miou'} <= set(figure) <= {'data', 'miou', 'protocol'}
        and type(figure['miou']) in (int, float)
        and 0 < figure['miou'] <= 100
        and all(_is_text(figure.get(key, '')) for key in ('data', 'protocol'))
        for figure in value
    )


def _is_recipe(value: Any) -> bool:
    return value == 'whole' or (
        isinstance(value, dict)
        and {'window'} <= set(value) <= {'window', 'stride'}
        and all(map(_is_side, value.values()))
    )


def _digest(digits: int) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, str) and re.fullmatch(f'[0-9a-f]{{6,{digits}}}', value) is not None
    )


def _each_of(known: Mapping[str, Any]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, list)
        and all(isinstance(entry, str) and entry in known for entry in value)
    )


def _one_of(known: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in known


CHECKS: Mapping[str, Callable[[Any], bool]] = {
    'address': _is_address,
    'file': lambda value: isinstance(value, str) and FILE.fullmatch(value) is not None,
    'fetch': _one_of(get_args(Fetch)),
    'by_hand': _is_text,
    'system': _is_text,
    'obstacle': _is_text,
    'encoder': lambda value: isinstance(value, bool),
    'base': _is_text,
    'image_size': _is_side,
    'labels': _is_text,
    'mean': _are_channels,
    'std': _are_channels,
    'options': lambda value: isinstance(value, dict),
    'weights': _one_of(('averaged', 'last')),
    'size': lambda value: type(value) is int and value > 0,
    **{name: _digest(digits) for name, digits in DIGITS.items()},
    'trained_on': _each_of(data_terms()),
    'licence': _one_of(licences()),
    'code': _one_of(licences()),
    'recipe': _is_recipe,
    'figures': _are_figures,
    'source': _is_text,
    'notes': lambda value: isinstance(value, list) and all(map(_is_text, value)),
    'derived': lambda value: isinstance(value, bool),
}
"""Whether the value of a key is usable; null stands for a key that is left out."""
