"""The layout of a dataset, from its YAML file: the files of the frames and the meaning of ids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

from dgss_core.datasets.schema import faults
from dgss_core.documents import read_yaml
from dgss_core.errors import DgssError, one_line, unknown
from dgss_core.labels import LabelSet
from dgss_core.paths import is_file
from dgss_core.synthetic import CONDITIONS

CATALOG = Path(__file__).parent / 'catalog'


@dataclass(frozen=True)
class Split:
    """One split.

    `folder` replaces `{split}` in the paths. `listing` is a text file of frame names inside the
    dataset. `count` is the published number of frames.
    """

    folder: str
    images: tuple[str, ...]
    labels: tuple[Mapping[str, Any], ...]
    listing: str | None = None
    count: int | None = None
    labelled: bool = True


@dataclass(frozen=True)
class Layout:
    """A dataset file.

    `condition`: of all frames; '' if nobody said it, and samples then have 'day'. `conditions`: by
    field of the path, the condition of each value. `sizes`: usual sizes of the
    images, (width, height). `gaps`: the published dataset has frames without labels, which are
    skipped. `stretch`: labels of another size are resized to their image. `palette`: labels are
    palette PNGs with the colours of their classes. `protocol_map`: the label map in use is that
    of the evaluation protocol.
    """

    name: str
    title: str
    source: str
    label_set: LabelSet
    splits: Mapping[str, Split]
    frame_name: str = '{name}'
    condition: str = ''
    conditions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sizes: tuple[tuple[int, int], ...] = ()
    gaps: bool = False
    stretch: bool = False
    palette: bool = False
    protocol_map: bool = False

    def __post_init__(self) -> None:
        named = {
            *([self.condition] if self.condition else []),
            *(c for values in self.conditions.values() for c in values.values()),
        }
        if odd := named - {*CONDITIONS}:
            raise DgssError(
                f'{self.title} has the unknown condition {min(odd)!r}; '
                f'use {", ".join(CONDITIONS)}.'
            )

    @property
    def tells_conditions(self) -> bool:
        """Whether the conditions of the frames are known."""
        paths = [path for split in self.splits.values() for path in split.images]
        return bool(self.condition or self.conditions) or any('{condition}' in p for p in paths)

    def split(self, name: str | None) -> Split:
        """The split of that name, or the first one; DgssError lists the known ones."""
        name = name or next(iter(self.splits))
        if name not in self.splits:
            raise unknown('split', name, self.splits, owner=self.title)
        return self.splits[name]


def load_layout(name: str | Path) -> Layout:
    """Load a dataset of the catalog by its name, or a YAML file by its path.

    Raises DgssError for an unknown name and a file that does not describe a dataset.
    """
    known = {path.stem: path for path in sorted(CATALOG.glob('*.yaml'))}
    path = known.get(str(name), Path(name))
    if not is_file(path):
        also = ' or the path of a YAML file'
        raise unknown('dataset', str(name), [*known, 'synthetic'], also=also)
    data = read_yaml(path)
    if fault := next(faults(data), None):
        raise DgssError(
            f'{path} does not describe a dataset: {one_line(fault)}; correct it as '
            'docs/datasets.md says.'
        )
    return _layout(path, data)


def _layout(path: Path, data: dict[str, Any]) -> Layout:
    if odd := set(data) - {*Layout.__dataclass_fields__, 'images', 'labels'}:
        raise DgssError(
            f'{path} says {", ".join(sorted(odd))}, which is not a key of a dataset '
            'file; correct or remove it.'
        )
    splits = {
        name: _split(name, data, own or {})
        for name, own in data.get('splits', {'all': {}}).items()
    }
    rest = {k: v for k, v in data.items() if k not in ('images', 'labels', 'splits', 'label_set')}
    rest['sizes'] = tuple(tuple(size) for size in data.get('sizes', ()))
    defaults = {'name': path.stem, 'title': path.stem, 'source': ''}
    label_set = data['label_set']
    if str(label_set).endswith('.yaml'):
        label_set = path.parent / label_set
    return Layout(label_set=LabelSet.load(label_set), splits=splits, **defaults | rest)


def _split(name: str, data: Mapping[str, Any], own: Mapping[str, Any]) -> Split:
    merged = {'images': data.get('images'), 'labels': data.get('labels'), 'folder': name, **own}
    images, labels = (_several(merged.pop(key)) for key in ('images', 'labels'))
    entries = tuple({'path': e} if isinstance(e, str) else dict(e) for e in labels)
    given = set.intersection(*(set(path_fields(image)) for image in images))
    for template in (*(e['path'] for e in entries), data.get('frame_name', Layout.frame_name)):
        if odd := set(path_fields(template)) - given:
            raise DgssError(
                f'{template} goes by {", ".join(sorted(odd))}, which {" and ".join(images)} do '
                'not have; name images, labels and frames by the same fields.'
            )
    return Split(images=images, labels=entries, **merged)


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def path_fields(path: str) -> tuple[str, ...]:
    """The fields of a path template except `{split}`, in order."""
    return tuple(f for _, f, _, _ in Formatter().parse(path) if f and f != 'split')


def folder_patterns(path: str, split: str) -> list[re.Pattern[str]]:
    """The patterns of the folders in a path template."""
    parts = path.split('/')
    folders = ['/'.join(parts[:count]) for count in range(1, len(parts))]
    # {path} may span folders.
    folders += [path[: path.index('{path}')] + '{path}'] if '{path}' in path else []
    return [path_pattern(folder, split) for folder in folders]


def path_pattern(path: str, split: str) -> re.Pattern[str]:
    """The pattern of a path template, below any folder, which is the first group.

    `{field}` matches a part of a name, `{path}` may span folders, `*` matches any text within a
    name.
    """
    pattern = re.escape(path.replace('{split}', split)).replace(r'\*', '[^/]*')
    pattern = re.sub(
        r'\\\{(\w+)\\\}',
        lambda field: f'(?P<{field[1]}>{".+?" if field[1] == "path" else "[^/]+?"})',
        pattern,
    )
    return re.compile(f'(^|.*/){pattern}$')
