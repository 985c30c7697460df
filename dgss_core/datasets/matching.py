"""Find the files of the frames of a split, and the labels that belong to each image.

What lies in front of the path of a layout is the front of a file. Fronts tell two drives with the
same file names apart: an image takes only labels of its own drive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dgss_core.datasets.label_map import LabelMap, label_map
from dgss_core.datasets.layout import Layout, Split, folder_patterns, path_fields, path_pattern
from dgss_core.datasets.storage import Storage
from dgss_core.errors import DgssError, shown
from dgss_core.images.label_files import RED

COMPARED = 16
"""So many pairs of files are compared byte by byte, to tell whether one is a copy of the other."""


@dataclass(frozen=True)
class LabelFile:
    """The label file of a frame, its channel, and the map of its ids."""

    path: str
    map: LabelMap
    channel: int | None = None


@dataclass(frozen=True)
class Pair:
    """The files of one frame in the storage; `labels` is None if there are none."""

    name: str
    condition: str
    image: str
    labels: LabelFile | None


@dataclass(frozen=True)
class Found:
    """A file with the values of the fields of its path; `front` is what lies before that path."""

    path: str
    front: str
    fields: dict[str, str]


@dataclass(frozen=True)
class LabelEntry:
    """The files of one `labels` entry, by the values of `keys`, the fields in its path."""

    keys: tuple[str, ...]
    files: Mapping[tuple[str, ...], Sequence[Found]]
    map: LabelMap | None = None
    channel: int | None = None


def find_pairs(
    layout: Layout, split: Split, storage: Storage, mapping: str | None
) -> tuple[list[Pair], list[str]]:
    """The frames of a split in the order of their paths, and the label files of no image.

    A frame that is there twice, as extracted and zipped copies of one file, is one frame. Raises
    DgssError for a split without images, different images of one name, an unknown `mapping`, and
    an image with two different label files.
    """
    names = sorted(storage.names)
    refuse_dead_folders(split, storage)
    for template in split.images:
        if images := _found(names, template, split.folder):
            break
    else:
        raise DgssError(
            f'{storage.root} holds no {" nor ".join(split.images)}, where '
            f'{layout.title} has its images; {storage.advice}'
        )
    entries = [_entry(names, layout, split, storage, one, mapping) for one in split.labels]
    drives = _drives({image.front for image in images}, entries)
    frames: dict[str, list[Pair]] = defaultdict(list)
    for image in images:
        labels = next(filter(None, (_labels(image, e, drives, storage) for e in entries)), None)
        name = layout.frame_name.format(**image.fields)
        frames[name].append(Pair(name, _condition(layout, image.fields), image.path, labels))
    copies = [pairs for pairs in frames.values() if len(pairs) > 1]
    for place, pairs in enumerate(copies):
        _refuse_different(pairs, storage, place)
    pairs = [next((p for p in same if p.labels), same[0]) for same in frames.values()]
    return pairs, _unused(images, entries, drives)


def refuse_dead_folders(split: Split, storage: Storage) -> None:
    """Raise DgssError for a link whose target is gone where the split has its folders."""
    templates = [*split.images, *(entry['path'] for entry in split.labels)]
    storage.refuse_dead_folders(
        [pattern for path in templates for pattern in folder_patterns(path, split.folder)]
    )


def _found(names: Iterable[str], template: str, folder: str) -> list[Found]:
    pattern = path_pattern(template, folder)
    matches = ((name, match) for name in names if (match := pattern.match(name)))
    return [Found(name, match[1], match.groupdict()) for name, match in matches]


def _entry(
    names: list[str],
    layout: Layout,
    split: Split,
    storage: Storage,
    entry: Mapping[str, Any],
    mapping: str | None,
) -> LabelEntry:
    keys = path_fields(entry['path'])
    files: dict[tuple[str, ...], list[Found]] = defaultdict(list)
    for found in _found(names, entry['path'], split.folder):
        files[_key(found, keys)].append(found)
    if not files:
        return LabelEntry(keys, files)
    channel = RED if entry.get('channel') == 'red' else None
    meaning = label_map(entry, mapping, layout.label_set, storage)
    return LabelEntry(keys, files, meaning, channel)


def _key(found: Found, keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(found.fields[key] for key in keys)


def _drives(fronts: set[str], entries: Iterable[LabelEntry]) -> dict[str, set[str]]:
    """By front of label files, the fronts of the images of the same drive: the nearest ones."""
    found = {file.front for e in entries for files in e.files.values() for file in files}
    drives = {}
    for labels in found:
        shared = {front: _shared(front, labels) for front in fronts}
        nearest = max(shared.values())
        drives[labels] = {front for front, count in shared.items() if count == nearest}
    return drives


def _shared(front: str, other: str) -> int:
    """The number of folders at the start that two fronts share."""
    count = 0
    for mine, theirs in zip(front.split('/')[:-1], other.split('/')[:-1], strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _labels(
    image: Found, entry: LabelEntry, drives: Mapping[str, set[str]], storage: Storage
) -> LabelFile | None:
    candidates = [
        file
        for file in entry.files.get(_key(image, entry.keys), ())
        if image.front in drives[file.front]
    ]
    if not candidates or entry.map is None:
        return None
    # The files beside the image first; among equally near ones in the order of their paths.
    candidates.sort(
        key=lambda file: (file.front != image.front, -_shared(image.front, file.front))
    )
    first, *others = candidates
    for other in others:
        is_as_near = _shared(image.front, other.front) == _shared(image.front, first.front)
        if (
            first.front != image.front
            and is_as_near
            and not _is_copy(first.path, other.path, storage, True)
        ):
            raise DgssError(
                f'{storage.where(image.path)} has two label files, {storage.where(first.path)} '
                f'and {storage.where(other.path)}; name their folders in the data set file.'
            )
    return LabelFile(first.path, entry.map, entry.channel)


def _refuse_different(pairs: list[Pair], storage: Storage, place: int) -> None:
    """Raise DgssError unless the images of the pairs are copies of one file."""
    first, *others = pairs
    for other in others:
        if not _is_copy(first.image, other.image, storage, place < COMPARED):
            raise DgssError(
                f'{storage.root} holds the frame {shown(first.name)} twice, as '
                f'{storage.where(first.image)} and {storage.where(other.image)}; tell the two '
                'apart by a field for their folder in the data set file (images: '
                "'{drive}/...', labels: '{drive}/...', frame_name: '{drive}_{name}'), or give "
                'the folder of one of them.'
            )


def _is_copy(path: str, other: str, storage: Storage, is_compared: bool) -> bool:
    """Whether two files have one size and, if `is_compared`, one content."""
    if storage.size(path) != storage.size(other):
        return False
    return not is_compared or storage.read(path) == storage.read(other)


def _unused(
    images: Iterable[Found], entries: Iterable[LabelEntry], drives: Mapping[str, set[str]]
) -> list[str]:
    unused = []
    for entry in entries:
        wanted = defaultdict(set)
        for image in images:
            wanted[_key(image, entry.keys)].add(image.front)
        unused += [
            file.path
            for key, files in entry.files.items()
            for file in files
            if not wanted[key] & drives[file.front]
        ]
    return sorted(unused)


def _condition(layout: Layout, fields: Mapping[str, str]) -> str:
    for field, conditions in layout.conditions.items():
        if fields.get(field) in conditions:
            return conditions[fields[field]]
    return fields.get('condition', layout.condition or 'day')


def paths_of(line: str) -> Iterator[str]:
    """A path and each of its ends in whole names, the longest first: a/b/c, b/c, c."""
    parts = line.split('/')
    return ('/'.join(parts[start:]) for start in range(len(parts)))
