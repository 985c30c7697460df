"""Check the content of a dataset file (YAML) before a layout is built from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from string import Formatter
from typing import Any

Kinds = Mapping[str, tuple[type, ...]]
"""The accepted types by key."""

WORDS = (str, int, float, date)
DATASET: Kinds = {
    'name': WORDS,
    'title': WORDS,
    'source': WORDS,
    'label_set': (str,),
    'images': (str, list),
    'labels': (str, list, dict),
    'splits': (dict,),
    'frame_name': (str,),
    'condition': (str,),
    'conditions': (dict,),
    'sizes': (list,),
    'gaps': (int,),
    'stretch': (int,),
    'palette': (int,),
    'protocol_map': (int,),
}
SPLIT: Kinds = {
    'folder': (str,),
    'images': (str, list),
    'labels': (str, list, dict),
    'listing': (str,),
    'count': (int,),
    'labelled': (int,),
}
LABELS: Kinds = {
    'path': (str,),
    'map': (str, list),
    'ids': (dict,),
    'names': (dict,),
    'highest': (int,),
    'classes': (list,),
    'classes_file': (str,),
    'channel': (str,),
}
OPTIONAL = {'listing', 'count', 'map'}
"""Keys that may be null."""


def faults(data: Any) -> Iterator[str]:
    """What is wrong with the content of a dataset file, one phrase each.

    Keys of the dataset itself that are unknown are not checked.
    """
    if not isinstance(data, dict):
        yield 'it has no keys'
        return
    yield from _kinds('the dataset', data, DATASET)
    if 'label_set' not in data:
        yield 'it has no label_set'
    for size in _items(data.get('sizes')):
        if not (isinstance(size, list) and [type(side) for side in size] == [int, int]):
            yield f'sizes has {size!r} where [width, height] belongs'
    for field, values in _entries(data.get('conditions')):
        if not isinstance(values, dict) or not all(isinstance(c, str) for c in values.values()):
            yield f'conditions of {field!r} must map values to conditions'
    yield from _template(data.get('frame_name', ''))
    splits = data.get('splits', {'all': {}})
    if splits == {}:
        yield 'splits is empty'
    for name, own in _entries(splits):
        yield from _split(name, own or {}, data)


def _split(name: Any, own: Any, data: Mapping[str, Any]) -> Iterator[str]:
    where = f'split {name!r}'
    if not isinstance(own, dict) or not isinstance(name, str):
        yield f'{where} must be a name with keys'
        return
    yield from _unknown(where, own, SPLIT)
    yield from _kinds(where, own, SPLIT)
    for key in ('images', 'labels'):
        if not own.get(key, data.get(key)):
            yield f'{where} has no {key}'
    for image in _items(own.get('images', data.get('images'))):
        yield from _template(image)
    for entry in _items(own.get('labels', data.get('labels'))):
        if not isinstance(entry, dict):
            yield from _template(entry)
            continue
        yield from _unknown('labels', entry, LABELS)
        yield from _kinds('labels', entry, LABELS)
        yield from _template(entry.get('path'))


def _unknown(where: str, content: Mapping[str, Any], kinds: Kinds) -> Iterator[str]:
    yield from (f'{where} has the unknown key {key}' for key in content if key not in kinds)


def _kinds(where: str, content: Mapping[str, Any], kinds: Kinds) -> Iterator[str]:
    for key, value in content.items():
        if value is None and key in OPTIONAL:
            continue
        if key in kinds and not isinstance(value, kinds[key]):
            yield f'{key} of {where} cannot be {value!r}'


def _template(path: Any) -> Iterator[str]:
    if not isinstance(path, str):
        yield f'{path!r} is not a path'
        return
    try:
        list(Formatter().parse(path))
    except ValueError as error:
        yield f'{path!r} is not a path ({error})'


def _items(value: Any) -> list[Any]:
    """The items of a list; other values count as a list of one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _entries(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []
