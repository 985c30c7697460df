"""Map the stored ids of a dataset to the ids of a label set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dgss_core.datasets.storage import Storage
from dgss_core.documents import fault_of, load_json, read_yaml
from dgss_core.errors import DgssError, unknown
from dgss_core.images.label_files import Color
from dgss_core.labels import IGNORE, LabelSet

VOID = 'void'
"""In `colors`, the name of pixels without a class."""
UNKNOWN = 254
"""Marks ids outside a map; no label set of a dataset has so many classes."""


@dataclass(frozen=True)
class LabelMap:
    """A lookup table uint8 (256,) from stored ids to ids of a label set.

    Ids without a class map to 255, ids outside the dataset to `UNKNOWN`. `classes`: the name in
    the dataset of every stored id; `colors`: the colour in a palette PNG by stored id; `painted`:
    the id of each RGB colour, if the files hold colours that mean classes; `own`: the name of the
    label set, if the stored ids are its ids. All may be empty.
    """

    name: str
    table: np.ndarray
    classes: tuple[str, ...] = ()
    colors: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    painted: Mapping[Color, int] = field(default_factory=dict)
    own: str = ''

    @property
    def key(self) -> bytes:
        """Changes with what the map does."""
        return self.table.tobytes() + repr(sorted(self.painted.items())).encode() * bool(
            self.painted
        )

    def apply(self, stored: np.ndarray) -> np.ndarray:
        """Map stored ids, uint8 (H, W), to labels; DgssError names an id outside the map."""
        labels = cv2.LUT(stored, self.table)
        unknown = labels == UNKNOWN
        if unknown.any():
            what = f'outside the map {self.name!r}'
            if self.own:
                what = f'no class of label set {self.own!r}'
            raise DgssError(
                f'The labels hold the id {stored[unknown][0]}, which is {what}; use the label '
                'files of this very dataset and version, or in a data set file of your own give '
                'its class in ids, or raise highest if it is void.'
            )
        return labels


def label_map(
    entry: Mapping[str, Any], name: str | None, label_set: LabelSet, storage: Storage
) -> LabelMap:
    """Build the map of one `labels` entry of a dataset file.

    - `ids` or `names` of the entry define the map.
    - Otherwise `map` is a table of maps.yaml, or several, of which `name` chooses one.
    - `colors` gives the colour, or several, of each class; or it is the word label_set, which
      means the colours of the label set, and black for void unless a class is black.
    - Without any of these, stored ids are ids of the label set.

    `highest` is the last id in use. `names` maps class names, which come from `classes` or from
    the JSON file `classes_file` of the dataset. Raises DgssError for an unknown map.
    """
    if 'colors' in entry:
        if name is not None:
            raise unknown('label map', name, (), owner='This dataset')
        own = _table(dict(enumerate(label_set.names)), 0, label_set)
        return LabelMap('colors', own, painted=_painted(entry['colors'], label_set))
    offered = entry.get('map', ())
    offered = (offered,) if isinstance(offered, str) else tuple(offered)
    if name is not None and name not in offered:
        raise unknown('label map', name, offered, owner='This dataset')
    rules = entry
    if offered:
        name = name or offered[0]
        rules = _shared_map(name)
    name = name or 'label set'
    owner = ''
    if 'ids' not in rules and 'names' not in rules:
        owner = label_set.name
        rules = {'ids': dict(enumerate(label_set.names)), **rules}
    if 'ids' in rules:
        ids = {int(stored): label for stored, label in rules['ids'].items()}
        table = _table(ids, int(rules.get('highest', max(ids))), label_set)
        colors = {i: label_set.labels[table[i]].color for i in ids}
        return LabelMap(name, table, colors=colors, own=owner)
    classes, painted = _classes(entry, storage)
    ids = {i: label for i, c in enumerate(classes) if (label := _by_name(c, rules['names']))}
    return LabelMap(name, _table(ids, len(classes) - 1, label_set), tuple(classes), painted)


def _table(ids: Mapping[int, str], highest: int, label_set: LabelSet) -> np.ndarray:
    table = np.full(256, UNKNOWN, np.uint8)
    table[: highest + 1] = IGNORE
    table[IGNORE] = IGNORE
    for stored, label in ids.items():
        if label not in label_set.names:
            raise DgssError(f'{label!r} is not a label of {label_set.name!r}; correct the map.')
        table[stored] = label_set.names.index(label)
    return table


def _painted(colors: str | Mapping[str, list[Any]], label_set: LabelSet) -> dict[Color, int]:
    """The id of each colour."""
    if isinstance(colors, str):
        of_set = {label.name: [*label.color] for label in label_set.labels}
        colors = of_set if [0, 0, 0] in of_set.values() else {VOID: [0, 0, 0], **of_set}
    painted: dict[Color, int] = {}
    for name, given in colors.items():
        if name not in label_set.names and name != VOID:
            raise unknown('label', name, (*label_set.names, VOID), owner=label_set.name)
        value = label_set.names.index(name) if name in label_set.names else IGNORE
        several: list[Any] = given if isinstance(given[0], list) else [given]
        for red, green, blue in several:
            if painted.setdefault((red, green, blue), value) != value:
                raise DgssError(
                    f'The colour {[red, green, blue]} stands for two classes in colors, one is '
                    f'{name!r}; give each class its own.'
                )
    return painted


def _by_name(name: str, rules: Mapping[str, str | None]) -> str | None:
    """The label of the first rule that matches `name` in lower case letters and digits."""
    plain = re.sub('[^a-z0-9]', '', name.lower())
    return next((label for rule, label in rules.items() if fnmatchcase(plain, rule)), None)


def _classes(
    entry: Mapping[str, Any], storage: Storage
) -> tuple[list[str], dict[int, tuple[int, ...]]]:
    """Class names by stored id, and their colours if the dataset has a configuration file."""
    if 'classes' in entry:
        return list(entry['classes']), {}
    wanted = entry['classes_file']
    found = storage.find(wanted)
    if found is None:
        raise DgssError(f'{storage.root} lacks {wanted}, which names the classes; copy it too.')
    try:
        labels = load_json(storage.read(found), storage.where(found))['labels']
        names = [entry['readable'] for entry in labels]
        colors = {i: tuple(map(int, entry['color'])) for i, entry in enumerate(labels)}
        if len(names) > IGNORE or not all(isinstance(name, str) for name in names):
            raise ValueError(f'it needs up to {IGNORE} names')
        return names, colors
    except (ValueError, KeyError, TypeError) as error:
        raise DgssError(
            f'{storage.where(found)} is not the configuration of the dataset ({fault_of(error)}); '
            'copy it again.'
        ) from error


@cache
def _shared_maps() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name('maps.yaml'))


def _shared_map(name: str) -> dict[str, Any]:
    known = _shared_maps()
    if name not in known:
        raise unknown('label map', name, known)
    return known[name]
