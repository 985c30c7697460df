"""KITTI semantics 2015 (Alhaija et al., IJCV 2018): 200 labelled frames from Karlsruhe by day."""

from __future__ import annotations

from pathlib import Path

from dgss_core.datasets.sample import Sample, read_pair
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet


class Kitti:
    """A folder with `images/*.jpg` and `labels/*.png` of Cityscapes train ids, by name.

    Raises DgssError where the folder holds no images.
    """

    label_set = LabelSet.load('cityscapes19')

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.names = sorted(path.stem for path in (self.root / 'images').glob('*.jpg'))
        if not self.names:
            raise DgssError(f'{root} holds no images/*.jpg; give the folder of the KITTI frames.')

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image, labels = read_pair(
            self.root / 'images' / f'{name}.jpg', self.root / 'labels' / f'{name}.png'
        )
        return Sample(name, image, labels, 'day')
