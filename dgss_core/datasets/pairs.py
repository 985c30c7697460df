"""A dataset of image and label files, found by its layout."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from dgss_core.datasets.label_map import LabelMap, label_map
from dgss_core.datasets.layout import Layout, path_fields, path_pattern
from dgss_core.datasets.polygons import draw_polygons
from dgss_core.datasets.sample import Sample
from dgss_core.datasets.storage import Storage
from dgss_core.documents import read_bounded
from dgss_core.errors import DgssError
from dgss_core.images.compressed import decode_compressed
from dgss_core.images.label_files import RED, decode_ids
from dgss_core.labels import IGNORE

LARGEST_LISTING = 1 << 26
"""Bytes of a list of frames."""


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


class Pairs:
    """Frames of one split of a layout, from a folder or zips.

    Args:
        condition: keep only the frames of this condition
        mapping: label map to use, if the layout has several
        listing: text file with the frames to keep, one name or path per line
        labelled: True skips frames without labels if the layout allows `gaps`, and raises
            otherwise; False keeps every frame, with labels of 255 if it has none

    Raises:
        DgssError: missing files, an unknown split, map or frame, or no frame left.
    """

    def __init__(
        self,
        layout: Layout,
        root: str | Path | Storage,
        split: str | None = None,
        *,
        condition: str | None = None,
        mapping: str | None = None,
        listing: str | Path | None = None,
        labelled: bool = True,
    ) -> None:
        self.layout, self.label_set = layout, layout.label_set
        self.split = layout.split(split)
        self.storage = root if isinstance(root, Storage) else Storage(root)
        self.pairs = self._find(mapping)
        if self.split.listing:
            listed = self.storage.find(self.split.listing) or self.split.listing
            where = self.storage.where(listed)
            self._keep(_decoded(self.storage.read(listed), where), where)
        if listing is not None:
            self._keep(_read_listing(listing), str(listing))
        if condition is not None:
            self.pairs = [pair for pair in self.pairs if pair.condition == condition]
            if not self.pairs:
                raise DgssError(f'{layout.title} has no frames of the condition {condition!r}.')
        self.unlabelled = [pair for pair in self.pairs if pair.labels is None]
        if labelled:
            self._drop_unlabelled()
        words = [f'{layout.title} {split or next(iter(layout.splits))}', condition]
        if any(isinstance(entry.get('map'), list) for entry in self.split.labels):
            maps = {pair.labels.map.name for pair in self.pairs if pair.labels}
            words.append(f'map {" and ".join(sorted(maps))}')
        self.title = ', '.join([*filter(None, words), f'{len(self)} frames'])

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        image = self.image(index)
        labels = self.labels(index) if pair.labels else np.full(image.shape[:2], IGNORE, np.uint8)
        if labels.shape != image.shape[:2]:
            labels = self._stretched(pair, labels, image.shape)
        return Sample(pair.name, image, labels, pair.condition, pair.labels is not None)

    def _stretched(self, pair: Pair, labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        size = shape[1], shape[0]
        if not self.layout.stretch:
            raise DgssError(
                f'{self.storage.where(pair.labels.path if pair.labels else pair.image)} is '
                f'{labels.shape[1]}x{labels.shape[0]} and its image is {size[0]}x{size[1]}; '
                f'the two must be of one size{self._turned(pair.image, labels.shape)}.'
            )
        return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)

    def _turned(self, image: str, shape: tuple[int, ...]) -> str:
        """The end of a sentence, if the labels fit the image after its EXIF orientation."""
        upright = decode_compressed(self.storage.read(image), upright=True)
        if upright.shape[:2] != shape:
            return ''
        return (
            ', and they are after the EXIF orientation of the image, which does not turn its '
            'labels; save the image upright without the tag'
        )

    def image(self, index: int) -> np.ndarray:
        """The image as it is stored, RGB uint8 (H, W, 3); DgssError names a bad file."""
        path = self.pairs[index].image
        try:
            return decode_compressed(self.storage.read(path))
        except DgssError as error:
            raise DgssError(f'{self.storage.where(path)}: {error}') from error

    def labels(self, index: int) -> np.ndarray:
        """The labels, uint8 (H, W); DgssError names a bad file or an id outside the map."""
        file = self.pairs[index].labels
        if file is None:
            raise DgssError(f'{self.storage.where(self.pairs[index].image)} has no labels.')
        try:
            return file.map.apply(self.stored_ids(file))
        except DgssError as error:
            raise DgssError(f'{self.storage.where(file.path)}: {error}') from error

    def stored_ids(self, file: LabelFile) -> np.ndarray:
        """The ids in the file, before the map, uint8 (H, W)."""
        data = self.storage.read(file.path)
        if file.path.endswith('.json'):
            return draw_polygons(data, file.map.classes)
        return decode_ids(data, file.channel)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the frames, the label files and the label map; sha256 in hex digits."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            digest.update(f'{pair.image} {self.storage.stamp(pair.image)}\n'.encode())
            if pair.labels:
                digest.update(
                    f'{pair.labels.path} {self.storage.stamp(pair.labels.path)}'.encode()
                )
                digest.update(pair.labels.map.table.tobytes())
        return digest.hexdigest()

    def _find(self, mapping: str | None) -> list[Pair]:
        names = sorted(self.storage.names)
        images: dict[str, dict[str, str]] = {}
        for path in self.split.images:
            images = dict(_matching(names, path, self.split.folder))
            if images:
                break
        else:
            raise DgssError(
                f'{self.storage.root} holds no {" nor ".join(self.split.images)}, where '
                f'{self.layout.title} has its images; {self.storage.advice}'
            )
        labels = [self._label_files(names, entry, mapping) for entry in self.split.labels]
        frames: dict[str, Pair] = {}
        for image, fields in images.items():
            name = self.layout.frame_name.format(**fields)
            found = (files[key] for keys, files in labels if (key := _key(fields, keys)) in files)
            # If a frame exists twice under the root, the first one is used.
            frames.setdefault(name, Pair(name, self._condition(fields), image, next(found, None)))
        return list(frames.values())

    def _label_files(
        self, names: list[str], entry: Mapping[str, Any], mapping: str | None
    ) -> tuple[tuple[str, ...], dict[tuple[str, ...], LabelFile]]:
        """Fields in the path of one `labels` entry, and the label files by their values."""
        path, keys = entry['path'], path_fields(entry['path'])
        matching = list(_matching(names, path, self.split.folder))
        if not matching:
            return keys, {}
        meaning = label_map(entry, mapping, self.label_set, self.storage)
        channel = RED if entry.get('channel') == 'red' else None
        files: dict[tuple[str, ...], LabelFile] = {}
        for name, fields in matching:
            files.setdefault(_key(fields, keys), LabelFile(name, meaning, channel))
        return keys, files

    def _condition(self, fields: dict[str, str]) -> str:
        for field, conditions in self.layout.conditions.items():
            if fields.get(field) in conditions:
                return conditions[fields[field]]
        return fields.get('condition', self.layout.condition)

    def _keep(self, text: str, origin: str) -> None:
        wanted = [PurePosixPath(line.strip()).stem for line in text.splitlines() if line.strip()]
        by_name = {PurePosixPath(pair.image).stem: pair for pair in self.pairs}
        by_name |= {pair.name: pair for pair in self.pairs}
        missing = [name for name in wanted if name not in by_name]
        if not wanted:
            raise DgssError(f'{origin} names no frames; write one per line.')
        if missing:
            raise DgssError(
                f'{origin} names {len(missing)} of {len(wanted)} frames that '
                f'{self.storage.root} does not have ({", ".join(missing[:3])}); '
                'copy them, or take them out of the list.'
            )
        self.pairs = [by_name[name] for name in wanted]

    def _drop_unlabelled(self) -> None:
        if not self.split.labelled:
            raise DgssError(
                f'The labels of this split of {self.layout.title} are not public; '
                'read it without labels (labelled=False) and score it at its server.'
            )
        if self.unlabelled and (not self.layout.gaps or len(self.unlabelled) == len(self.pairs)):
            paths = ' nor '.join(entry['path'] for entry in self.split.labels)
            raise DgssError(
                f'{len(self.unlabelled)} of {len(self.pairs)} frames of {self.storage.root} have '
                f'no labels, the first is {self.unlabelled[0].image} (neither {paths}); '
                'copy the labels too, or list the frames to use.'
            )
        self.pairs = [pair for pair in self.pairs if pair.labels]


def _matching(names: Iterable[str], path: str, split: str) -> Iterable[tuple[str, dict[str, str]]]:
    pattern = path_pattern(path, split)
    return ((n, match.groupdict()) for n in names if (match := pattern.match(n)))


def _key(fields: dict[str, str], keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(fields[key] for key in keys)


def _read_listing(path: str | Path) -> str:
    return _decoded(read_bounded(Path(path), LARGEST_LISTING), str(path))


def _decoded(data: bytes, origin: str) -> str:
    """The text of a list of frames."""
    try:
        if len(data) > LARGEST_LISTING:
            raise ValueError(f'it is longer than {LARGEST_LISTING >> 20} MiB')
        return data.decode()
    except ValueError as error:
        raise DgssError(f'The list of frames {origin} cannot be read: {error}.') from error
