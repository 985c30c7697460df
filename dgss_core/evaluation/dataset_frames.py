"""A split of a data set as frames to evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial

import numpy as np

from dgss_core.datasets import Dataset, Pairs, Synthetic, Unlabelled
from dgss_core.datasets.layout import path_pattern
from dgss_core.datasets.protocols import ProtocolView
from dgss_core.errors import DgssError, shown
from dgss_core.evaluation.conditions import RESERVED
from dgss_core.evaluation.frames import ALONE, UNKNOWN, FrameKey, Problems
from dgss_core.labels import IGNORE

DRIVES = ('drive', 'sequence', 'city')
"""Fields of a path, in the catalog of data sets, that name a recording."""


class DatasetFrames:
    """`dataset` under the view of a protocol. Open it with `labelled=False`, where it can be."""

    is_film = False
    unused: frozenset[str] | None = None

    def __init__(self, dataset: Dataset, view: ProtocolView | None = None) -> None:
        self.dataset, self.view = dataset, view or ProtocolView()
        self.title, self.label_set = dataset.title, dataset.label_set
        self.problems = Problems()
        # Those of frames that were not chosen are as they should be.
        if isinstance(dataset, Pairs) and dataset.is_whole and dataset.unused:
            self.problems.add(
                'A label file belongs to no image and is not scored; copy its image too, or '
                'remove it.',
                *dataset.unused,
            )

    @property
    def fingerprint(self) -> str:
        return f'{self.dataset.fingerprint} {self.view}'

    @property
    def labels_fingerprint(self) -> str:
        # That of a data set changes with its labels and maps too.
        return f'{self.fingerprint} {self.label_set.to_dict()} {self.keys}'

    @cached_property
    def keys(self) -> list[FrameKey]:
        keys = self._keys()
        for key in keys:
            if key.condition in RESERVED:
                raise DgssError(
                    f'{self.title} calls a condition {key.condition!r}, which means something '
                    'else here; call it otherwise.'
                )
            try:
                key.name.encode()
            except UnicodeEncodeError as error:
                raise DgssError(
                    f'The name of the frame {shown(key.name)} of {self.title} is not UTF-8; '
                    'rename its files.'
                ) from error
        return keys

    def _keys(self) -> list[FrameKey]:
        dataset = self.dataset
        if isinstance(dataset, Pairs):
            known = dataset.layout.tells_conditions
            return [
                FrameKey(
                    pair.name, _drive(dataset, pair.image), pair.condition if known else UNKNOWN
                )
                for pair in dataset.pairs
            ]
        if isinstance(dataset, Synthetic):
            return [
                FrameKey(name, name.split('_')[1], name.split('_')[0]) for name in dataset.names
            ]
        if isinstance(dataset, Unlabelled):
            return [FrameKey(name, '', UNKNOWN) for name, _ in dataset.readers]
        # A data set of a plugin tells names and conditions with its samples alone.
        samples = (dataset[index] for index in range(len(dataset)))
        told = [(sample.name, sample.condition) for sample in samples]
        if len({name for name, _ in told}) < len(told):
            raise DgssError(f'Several frames of {dataset.title} share a name; give each its own.')
        return [FrameKey(name, '', condition) for name, condition in told]

    def images(self, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        for index in wanted:
            try:
                image = self._image(index)
            except DgssError as error:
                self.problems.add(str(error), self.keys[index].name)
                continue
            if image is None:
                self.problems.add(
                    'The protocol leaves out images of this size.',
                    self.keys[index].name,
                    is_note=True,
                )
            else:
                yield index, image

    def labels(self, wanted: Sequence[int]) -> Iterator[tuple[int, Callable[[], np.ndarray]]]:
        if isinstance(self.dataset, Unlabelled):
            return
        for index in wanted:
            if isinstance(self.dataset, Pairs) and self.dataset.pairs[index].labels is None:
                if self.dataset.split.labelled and not self.dataset.layout.gaps:
                    self.problems.add(ALONE, self.keys[index].name)
                continue
            yield index, partial(self._labels, index)

    def _image(self, index: int) -> np.ndarray | None:
        if self.view == ProtocolView() and isinstance(self.dataset, Pairs):
            return self.dataset.image(index)
        sample = self.view(self.dataset[index])
        return None if sample is None else sample.image

    def _labels(self, index: int) -> np.ndarray:
        if self.view == ProtocolView() and not _may_stretch(self.dataset):
            return self.dataset.labels(index)
        sample = self.view(self.dataset[index])
        if sample is None:
            return np.full((1, 1), IGNORE, np.uint8)
        return sample.labels


def _may_stretch(dataset: Dataset) -> bool:
    """Whether labels of another size are resized to their image, so that it has to be read."""
    return isinstance(dataset, Pairs) and dataset.layout.stretch


def _drive(dataset: Pairs, image: str) -> str:
    for path in dataset.split.images:
        if match := path_pattern(path, dataset.split.folder).match(image):
            fields = match.groupdict()
            return next((fields[name] for name in DRIVES if name in fields), '')
    return ''
