"""The drive of the demo: a synthetic street in all conditions, and CamVid dusk if available."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from dgss_core.commands.bag import synthetic_frames
from dgss_core.errors import DgssError
from dgss_core.images.frames import FIRST_STAMP_NS, Frame, read_image, read_labels
from dgss_core.synthetic import CONDITIONS

RATE_HZ = 10.0


@dataclass(frozen=True)
class Leg:
    """A part of the drive in one condition from one source.

    `scored_in`: the label set that masks and labels are merged into for the score. All labels are
    Cityscapes train ids.
    """

    source: str
    condition: str
    scored_in: str


class DemoDrive:
    """Iterates over the frames of the drive; `legs` holds the leg of each frame by its stamp.

    `camvid`: folder with images/, labels_cs19/ and splits/dusk*.txt, or None. `frames`: number per
    condition of the synthetic street.
    """

    def __init__(self, camvid: Path | None, frames: int, seed: int) -> None:
        self.legs: dict[int, Leg] = {}
        self._camvid = camvid
        self._names = _dusk_names(camvid) if camvid else []
        self._frames = frames
        self._seed = seed

    def __len__(self) -> int:
        return len(self._names) + self._frames * len(CONDITIONS)

    def __iter__(self) -> Iterator[Frame]:
        real = self._real(self._camvid) if self._camvid else ()
        for index, (leg, frame) in enumerate(chain(self._synthetic(), real)):
            stamp_ns = FIRST_STAMP_NS + round(index * 1e9 / RATE_HZ)
            self.legs[stamp_ns] = leg
            yield replace(frame, stamp_ns=stamp_ns)

    def _real(self, camvid: Path) -> Iterator[tuple[Leg, Frame]]:
        leg = Leg('CamVid', 'dusk', 'camvid11')
        for name in self._names:
            image = read_image(camvid / 'images' / f'{name}.jpg')
            labels = read_labels(camvid / 'labels_cs19' / f'{name}.png')
            yield leg, Frame(name, image, 0, labels, leg.condition)

    def _synthetic(self) -> Iterator[tuple[Leg, Frame]]:
        for frame in synthetic_frames(CONDITIONS, self._frames, RATE_HZ, self._seed):
            yield Leg('synthetic', str(frame.condition), 'cityscapes19'), frame


def find_camvid(data: Path | None) -> Path | None:
    """Return the folder camvid/ in `data`, or in DGSS_DATA if `data` is None.

    Returns None when there is no such folder. Raises DgssError when `data` is given without one.
    """
    root = data or os.environ.get('DGSS_DATA')
    camvid = Path(root) / 'camvid' if root else None
    if camvid is None or (camvid / 'labels_cs19').is_dir():
        return camvid
    if data is None:
        return None
    raise DgssError(
        f'{data} holds no camvid/ with images/, labels_cs19/ and splits/; give the folder '
        'above camvid/, or omit --data to use the synthetic drive only.'
    )


def _dusk_names(camvid: Path) -> list[str]:
    listings = sorted((camvid / 'splits').glob('dusk*.txt'))
    return [name for listing in listings for name in listing.read_text().split()]
