"""Check the content of a dataset file (YAML) before a layout is built from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Any

from dgss_core.errors import one_line, shown

Kinds = Mapping[str, tuple[type, ...]]
"""The accepted types by key."""

WORDS = (str, int, float)
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
    'colors': (dict, str),
}
OPTIONAL = {'listing', 'count', 'map'}
"""Keys that may be null."""
MOST_FIELDS, MOST_IN_NAME = 12, 4
"""Fields and stars of a path, and of one name in it; a search for files takes longer with each."""
MOST_COLORS = 255
IDS = {str(stored) for stored in range(256)}


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
            yield f'sizes has {shown(size)} where [width, height] belongs'
    for field, values in _entries(data.get('conditions')):
        if not isinstance(values, dict) or not all(isinstance(c, str) for c in values.values()):
            yield f'conditions of {shown(field)} must map values to conditions'
    yield from _template(data.get('frame_name', ''))
    splits = data.get('splits', {'all': {}})
    if splits == {}:
        yield 'splits is empty'
    for name, own in _entries(splits):
        yield from _split(name, own or {}, data)


def _split(name: Any, own: Any, data: Mapping[str, Any]) -> Iterator[str]:
    where = f'split {shown(name)}'
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
        yield from _meaning(entry)


def _unknown(where: str, content: Mapping[str, Any], kinds: Kinds) -> Iterator[str]:
    yield from (
        f'{where} has the unknown key {one_line(key, 60)}' for key in content if key not in kinds
    )


def _kinds(where: str, content: Mapping[str, Any], kinds: Kinds) -> Iterator[str]:
    for key, value in content.items():
        if value is None and key in OPTIONAL:
            continue
        if key in kinds and not isinstance(value, kinds[key]):
            yield f'{key} of {where} cannot be {shown(value)}'


def _meaning(entry: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the map of stored ids to labels."""
    for stored, label in _entries(entry.get('ids')):
        known = type(stored) in (int, str) and str(stored) in IDS
        if not known or not isinstance(label, str):
            what = (
                f'ids has {shown(stored)}: {shown(label)} where an id (0 to 255) and a name belong'
            )
            yield what + _quotes(label)
    for rule, label in _entries(entry.get('names')):
        if not isinstance(rule, str) or not isinstance(label, str | None):
            what = f'names has {shown(rule)}: {shown(label)} where two names belong'
            yield what + _quotes(rule, label)
    yield from _colors(entry)
    for key, most in (('classes', 255), ('map', 255)):
        listed = _items(entry.get(key))
        if len(listed) > most or not all(isinstance(name, str) for name in listed):
            yield f'{key} must be up to {most} names' + _quotes(*listed)
    if not 0 <= entry.get('highest', 0) <= 255:
        yield f'highest is {shown(entry["highest"])}, and ids are 0 to 255'
    if entry.get('channel', 'red') != 'red':
        yield f'channel is {shown(entry["channel"])}, and only red can be chosen'
    if 'names' in entry and not {'classes', 'classes_file'} & set(entry):
        yield 'names needs classes or classes_file'


def _colors(entry: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the colours that mean classes."""
    colors = entry.get('colors')
    if isinstance(colors, str) and colors != 'label_set':
        yield f'colors is {shown(colors)}; it is a colour for each class, or label_set'
    if colors == {} or len(_entries(colors)) > MOST_COLORS:
        yield f'colors needs 1 to {MOST_COLORS} classes'
    for name, given in _entries(colors):
        several = given if isinstance(given, list) and _is_list_of_lists(given) else [given]
        if not isinstance(name, str) or not all(map(_is_color, several)):
            what = f'colors has {shown(name)}: {shown(given)} where a name and [red, green, blue]'
            yield f'{what} belong' + _quotes(name)
    if 'colors' in entry and (more := {*entry} - {'path', 'colors'}):
        yield f'colors stands in the place of {", ".join(sorted(more))}'


def _quotes(*names: Any) -> str:
    """The end of a phrase about names that YAML reads as numbers, dates or truth values."""
    odd = [name for name in names if isinstance(name, bool | int | float)]
    return f'; {shown(odd[0])} is no text, write a name like that in quotes' if odd else ''


def _is_list_of_lists(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(item, list) for item in value)


def _is_color(value: Any) -> bool:
    """Whether a value is three whole numbers from 0 to 255."""
    is_list = isinstance(value, list) and len(value) == 3
    return is_list and all(type(part) is int and 0 <= part <= 255 for part in value)


def _template(path: Any) -> Iterator[str]:
    if not isinstance(path, str):
        yield f'{shown(path)} is not a path'
        return
    try:
        parts = list(Formatter().parse(path))
    except ValueError as error:
        yield f'{shown(path)} is not a path ({error})'
        return
    fields = [field for _, field, _, _ in parts if field is not None]
    # A field is a plain name: format() would follow name.attribute and obey name:>999999999.
    if not all(field.isidentifier() for field in fields) or any(p[2] or p[3] for p in parts):
        yield f'{shown(path)} is not a path; a field is a name in braces'
    if len(set(fields)) != len(fields):
        yield f'{shown(path)} has a field twice'
    if len(fields) + path.count('*') > MOST_FIELDS:
        yield f'{shown(path)} has more than {MOST_FIELDS} fields and stars'
    elif max(name.count('{') + name.count('*') for name in path.split('/')) > MOST_IN_NAME:
        yield f'{shown(path)} has more than {MOST_IN_NAME} fields and stars in one name'


def _items(value: Any) -> list[Any]:
    """The items of a list; other values count as a list of one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _entries(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []
