"""A dataset of image and label files, found by its layout."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from dgss_core.datasets.layout import Layout
from dgss_core.datasets.listing import decode_listing, listed_pairs, read_listing
from dgss_core.datasets.matching import LabelFile, Pair, find_pairs
from dgss_core.datasets.polygons import draw_polygons
from dgss_core.datasets.sample import Sample
from dgss_core.datasets.storage import Storage
from dgss_core.errors import DgssError, plural
from dgss_core.images.label_files import decode_colors, decode_ids
from dgss_core.images.stills import decode_still
from dgss_core.labels import IGNORE


class Pairs:
    """Frames of one split of a layout, from a folder or zips.

    Args:
        condition: keep only the frames of this condition
        mapping: label map to use, if the layout has several
        listing: text file with the frames to keep, one name or path per line
        labelled: True skips frames without labels if the layout allows `gaps`, and raises
            otherwise; False keeps every frame, with labels of 255 if it has none

    `unused`: label files of the split that belong to no image. `is_whole`: no condition and no
    listing chose some of its frames.

    Raises:
        DgssError: missing files, frames of one name, an unknown split, map or frame, or no frame
            left.
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
        self.pairs, self.unused = find_pairs(layout, self.split, self.storage, mapping)
        self.is_whole = not (self.split.listing or listing or condition)
        if self.split.listing:
            listed = self.storage.find(self.split.listing) or self.split.listing
            where = self.storage.where(listed)
            self._keep(decode_listing(self.storage.read(listed), where), where)
        if listing is not None:
            self._keep(read_listing(listing), str(listing))
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
        self.title = ', '.join([*filter(None, words), plural(len(self), 'frame')])

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
        upright = decode_still(self.storage.read(image), upright=True)
        if upright.shape[:2] != shape:
            return ''
        return (
            ', and they are after the EXIF orientation of the image, which does not turn its '
            'labels; save the image upright without the tag'
        )

    def image(self, index: int) -> np.ndarray:
        """The image as it is stored, RGB uint8 (H, W, 3); DgssError names a bad file."""
        path = self.pairs[index].image
        data = self.storage.read(path)
        try:
            return decode_still(data)
        except DgssError as error:
            raise DgssError(f'{self.storage.where(path)}: {error}') from error

    def labels(self, index: int) -> np.ndarray:
        """The labels, uint8 (H, W); DgssError names a bad file or an id outside the map."""
        file = self.pairs[index].labels
        if file is None:
            raise DgssError(f'{self.storage.where(self.pairs[index].image)} has no labels.')
        data = self.storage.read(file.path)
        try:
            return file.map.apply(_stored_ids(file, data))
        except DgssError as error:
            raise DgssError(f'{self.storage.where(file.path)}: {error}') from error

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the frames, the label files and the label map; sha256 in hex digits."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            line = f'{pair.image} {self.storage.stamp(pair.image)}\n'
            digest.update(line.encode(errors='surrogateescape'))
            if pair.labels:
                line = f'{pair.labels.path} {self.storage.stamp(pair.labels.path)}'
                digest.update(line.encode(errors='surrogateescape'))
                digest.update(pair.labels.map.key)
        return digest.hexdigest()

    def _keep(self, text: str, origin: str) -> None:
        self.pairs = listed_pairs(
            self.pairs, text, origin, self.layout, self.split, self.storage.root
        )

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


def _stored_ids(file: LabelFile, data: bytes) -> np.ndarray:
    """The ids in a file before the map, uint8 (H, W); colours are mapped at once."""
    if file.path.endswith('.json'):
        return draw_polygons(data, file.map.classes)
    if file.map.painted:
        return decode_colors(data, file.map.painted)
    return decode_ids(data, file.channel, is_described=True)
