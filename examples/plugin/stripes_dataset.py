"""A dataset: labelled frames in a fixed order.

`dgss.datasets` points to a class or function that takes the root, the split and the options of a
recipe. A folder of images and labels needs no code, only a YAML file (docs/datasets.md).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import dgss_core as dgss


class Stripes:
    """Frames of two vertical stripes: road on the left, sky on the right."""

    def __init__(self, root: Path | None, split: str | None, count: int = 8) -> None:
        self.label_set = dgss.LabelSet.load('cityscapes19')
        self.title = f'stripes {split or "train"}, {count} frames'
        self.fingerprint = f'stripes-{count}'
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dgss.Sample:
        labels = self.labels(index)
        image = self.label_set.colors[labels]
        return dgss.Sample(f'{index:03}', image, labels, 'day')

    def labels(self, index: int) -> np.ndarray:
        road, sky = (self.label_set.names.index(name) for name in ('road', 'sky'))
        labels = np.full((64, 96), sky, np.uint8)
        labels[:, : 8 * (index % self._count + 1)] = road
        return labels
