"""CamVid (Brostow et al., Pattern Recognition Letters 2009) in SegNet's 480x360, 11-class form."""

from __future__ import annotations

from pathlib import Path

from dgss_core.datasets.sample import Sample, read_pair
from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE, LabelSet

VOID = 11
SPLITS = ('day_train', 'day_val', 'day_test', 'dusk')


class CamVid:
    """One split of a folder with `images/*.jpg`, `labels11/*.png` and `splits/<split>.txt`.

    `day_test` is a drive that no frame of `day_train` comes from; `day_val` is near-duplicate
    footage of a training drive. Raises DgssError where the folder or the split is not there.
    """

    label_set = LabelSet.load('camvid11')

    def __init__(self, root: Path, split: str) -> None:
        listing = Path(root) / 'splits' / f'{split}.txt'
        if split not in SPLITS or not listing.is_file():
            raise DgssError(
                f'{root} has no CamVid split {split!r}; give a folder with images/, labels11/ '
                f'and splits/, and one of {", ".join(SPLITS)}.'
            )
        self.root = Path(root)
        self.names = listing.read_text().split()
        self.condition = 'dusk' if split == 'dusk' else 'day'

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image, labels = read_pair(
            self.root / 'images' / f'{name}.jpg', self.root / 'labels11' / f'{name}.png'
        )
        labels[labels == VOID] = IGNORE
        return Sample(name, image, labels, self.condition)
