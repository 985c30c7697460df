"""Label sets: ids, names and colours of the classes, and merges between sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core.documents import fault_of, read_yaml
from dgss_core.errors import DgssError, shown, unknown
from dgss_core.paths import is_file

IGNORE = 255
"""Id of a pixel without a label, in every label set."""

LONGEST = 200
"""Characters of a name."""
MOST_LABELS = 254
"""Two values of a byte are no class: 255, and 254, which marks ids outside a map."""

LABEL_SETS = Path(__file__).parent / 'label_sets'


@dataclass(frozen=True)
class Label:
    """One class: its id in a mask (0 to 253), its name and its RGB colour."""

    id: int
    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of classes with the ids 0 to N-1, one channel of a score map each.

    `merges`: by name of another label set, the class in that set of each class. `subsets`: named
    groups of ids that get a score of their own. Raises DgssError for ids that are not 0 to N-1,
    names that repeat, and colours outside 0 to 255.
    """

    name: str
    labels: tuple[Label, ...]
    merges: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    subsets: Mapping[str, tuple[int, ...]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not 0 < len(self.labels) <= MOST_LABELS:
            raise DgssError(
                f'Label set {self.name!r} has {len(self.labels)} labels; give 1 to {MOST_LABELS}.'
            )
        if [label.id for label in self.labels] != list(range(len(self.labels))):
            raise DgssError(
                f'Label set {self.name!r} must number its labels 0, 1, 2, ... in order; '
                f'its ids are {shown([label.id for label in self.labels])}.'
            )
        if len(set(self.names)) != len(self.names):
            raise DgssError(f'Label set {self.name!r} names a label twice; make the names unique.')
        for label in self.labels:
            if not all(0 <= c <= 255 for c in label.color):
                raise DgssError(
                    f'Label {label.name!r} of {self.name!r} needs a colour of three values '
                    f'0 to 255, not {shown(list(label.color))}.'
                )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(label.id for label in self.labels)

    @cached_property
    def colors(self) -> np.ndarray:
        """RGB palette, uint8 (256, 3), indexed by id; ids without a label are black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self)] = [label.color for label in self.labels]
        return palette

    def foreign_id(self, ids: np.ndarray) -> int | None:
        """The smallest of `ids`, uint8, that is neither a class nor 255; None if there is none."""
        count = len(self)
        if ids.max(initial=0) < count or (ids + np.uint8(1)).max() <= count:  # 255 becomes 0
            return None
        return int(ids[ids >= count].min())

    def check_ids(self, ids: np.ndarray, what: str) -> None:
        """Raise DgssError if `ids`, uint8, hold one that is neither a class nor 255.

        `what` holds them, such as 'The labels'.
        """
        if (foreign := self.foreign_id(ids)) is not None:
            raise DgssError(
                f'{what} hold the id {foreign}, which is no class of label set {self.name!r}; '
                'name the set that they are of, or give pixels without a class the id 255.'
            )

    def merge_to(self, other: LabelSet, advice: str = '') -> np.ndarray:
        """Lookup table from ids of this set to ids of `other`, uint8 (256,), 255 for no class.

        Raises DgssError if the sets differ and this set has no merge to `other`. `advice`: what to
        do then, if this set has no file that may be edited.
        """
        table = np.full(256, IGNORE, np.uint8)
        if set(self.names) == set(other.names):
            pairs = {name: name for name in self.names}
        elif other.name in self.merges:
            pairs = dict(self.merges[other.name])
        elif other.name == self.name:
            raise namesakes(self, other)
        else:
            advice = advice or f'add a merges: {other.name}: section to its YAML file'
            raise DgssError(
                f'Label set {self.name!r} says nothing about {other.name!r}; {advice}.'
            )
        for ours, theirs in pairs.items():
            if ours not in self.names or theirs not in other.names:
                raise DgssError(
                    f'The merge {self.name!r} -> {other.name!r} maps {ours!r} to {theirs!r}, but '
                    'one of them is not a label of its set; correct the name.'
                )
            table[self.names.index(ours)] = other.names.index(theirs)
        return table

    def to_dict(self) -> dict[str, Any]:
        return {
            'name': self.name,
            'labels': [
                {'id': label.id, 'name': label.name, 'color': list(label.color)}
                for label in self.labels
            ],
            'merges': {name: dict(pairs) for name, pairs in self.merges.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], origin: str = 'label set') -> LabelSet:
        """Build from the YAML or manifest form; DgssError names `origin` and the fault."""
        try:
            labels = tuple(
                Label(_integer(entry['id']), _name(entry['name'], origin), _color(entry['color']))
                for entry in map(_mapping, _list(_mapping(data)['labels']))
            )
            ids = {label.name: label.id for label in labels}
            subsets = {
                _text(name): tuple(ids[member] for member in map(_text, _list(members)))
                for name, members in _mapping(data.get('subsets') or {}).items()
            }
            merges = {
                _text(name): {
                    _text(ours): _text(theirs) for ours, theirs in _mapping(pairs).items()
                }
                for name, pairs in _mapping(data.get('merges') or {}).items()
            }
            return cls(_text(data['name']), labels, merges, subsets)
        except (KeyError, ValueError) as error:
            raise DgssError(
                f'{origin} is not a label set ({fault_of(error)}); it needs a name and labels, '
                'each with id, name and color, as in dgss_core/label_sets/cityscapes19.yaml.'
            ) from error

    @classmethod
    def load(cls, name_or_path: str | Path) -> LabelSet:
        """Load a set by name (`cityscapes19`, `camvid11`) or from a YAML file.

        Raises DgssError for an unknown name, and for a file that is not a label set.
        """
        known = {path.stem: path for path in sorted(LABEL_SETS.glob('*.yaml'))}
        path = known.get(str(name_or_path), Path(name_or_path))
        if not is_file(path):
            also = ' or the path of a YAML file'
            raise unknown('label set', str(name_or_path), known, also=also)
        return cls.from_dict(read_yaml(path), str(path))


def namesakes(first: LabelSet, second: LabelSet) -> DgssError:
    """The error for two different label sets of one name."""
    only = [
        [name for name in one.names if name not in other.names]
        for one, other in ((first, second), (second, first))
    ]
    parts = [f'only one has {", ".join(map(shown, names[:3]))}' for names in only if names]
    return DgssError(
        f'Two different label sets are named {first.name!r} ({len(first)} and {len(second)} '
        f'classes, {", ".join(parts) or "in different orders"}); name them differently.'
    )


def _name(value: object, origin: str) -> str:
    if not isinstance(value, str):
        raise DgssError(
            f'{origin} names a class {shown(value)}, which YAML does not read as text; write the '
            'name in quotes.'
        )
    return _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST or not value.isprintable():
        raise ValueError(
            f'{shown(value)} is no name; write 1 to {LONGEST} printable characters, in quotes if '
            'they look like a number'
        )
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f'{_given(value)} where keys with their values must be')
    return value


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f'{_given(value)} where a list must be')
    return value


def _given(value: Any) -> str:
    return 'there is nothing' if value is None else f'there is {shown(value)}'


def _integer(value: Any) -> int:
    # 3.0 is what some tools write for 3.
    if type(value) not in (int, float) or value != value // 1:
        raise ValueError(f'{shown(value)} is no whole number')
    return int(value)


def _color(values: Any) -> tuple[int, int, int]:
    channels = [*map(_integer, _list(values))]
    if len(channels) != 3:
        raise ValueError(f'the colour {shown(channels)} has not three values')
    red, green, blue = channels
    return red, green, blue
