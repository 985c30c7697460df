"""Sets of frames to evaluate: what a data set and a bag have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Protocol

import numpy as np

from dgss_core.labels import LabelSet
from dgss_core.paths import status_of

UNKNOWN = 'unknown'
"""The condition of a frame of which nobody said it."""
ALONE = 'An image has no labels and is not scored.'
UNUSED = (
    'Labels have the stamp of no image; label what was recorded, or allow a difference with '
    '--tolerance.'
)
LISTED = 100
"""Names of frames that a problem lists; the others are counted."""


def files_hash(root: Path, files: Iterable[Path]) -> str:
    """A hash of files by their places below `root`, sizes and times; 16 hex digits.

    `root` itself, if it is a file. Of a link whose target is gone, its own size and time.
    """
    digest = hashlib.sha256()
    for path in [root] if root.is_file() else sorted(files):
        status = status_of(path)
        line = f'{path.relative_to(root)} {status.st_size} {status.st_mtime_ns}\n'
        digest.update(line.encode(errors='surrogateescape'))
    return digest.hexdigest()[:16]


def flat_name(name: str, taken: set[str]) -> str:
    """The name of a frame as that of a file: in no folder, and not in `taken`; it is added."""
    flat = name.replace('/', '_')
    names = chain([flat], (f'{flat}_{number}' for number in count(2)))
    free = next(one for one in names if one not in taken)
    taken.add(free)
    return free


def short_drives(drives: Iterable[str]) -> dict[str, str]:
    """Drives by the fewest last parts of their paths that tell them apart.

    The path of a bag may be written in several ways, and differs between machines.
    """
    parts = {drive: Path(drive).parts for drive in drives}
    short = {}
    for drive, own in parts.items():
        others = [other for name, other in parts.items() if name != drive]
        least = 1
        while least < len(own) and any(other[-least:] == own[-least:] for other in others):
            least += 1
        short[drive] = '/'.join(own[-least:])
    return short


@dataclass(frozen=True)
class FrameKey:
    """The place of a frame.

    `name`: unique in its set. `drive`: the recording that it belongs to, empty for a picture of
    its own. `condition`: day, dusk, night, fog, rain, snow or `UNKNOWN`. `stamp_ns`: of a bag.
    """

    name: str
    drive: str
    condition: str
    stamp_ns: int | None = None


@dataclass
class Problem:
    """Frames that something happened to. `what`: one sentence, with its remedy.

    `is_note`: it was asked for, such as a tolerance that is used, and is no reason to fail.
    """

    what: str
    is_note: bool = False
    count: int = 0
    frames: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        return {
            'what': self.what,
            'is_note': self.is_note,
            'count': self.count,
            'frames': self.frames,
        }


class Problems:
    """The problems of an evaluation: nothing that was left out is left out silently."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Problem] = {}

    def add(self, what: str, *frames: str, is_note: bool = False) -> None:
        """Count `frames` under the sentence `what`; the same sentence is counted on."""
        problem = self._by_kind.setdefault(what, Problem(what, is_note))
        problem.count += len(frames)
        problem.frames += frames[: LISTED - len(problem.frames)]

    def __len__(self) -> int:
        return len(self._by_kind)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._by_kind.values())


class FrameSet(Protocol):
    """Frames in the order of their drive, with their labels.

    `title`: printed with every score. `label_set`: of the labels. `is_film`: neighbours in `keys`
    follow each other within a second. `fingerprint` changes with the images, `labels_fingerprint`
    with the labels, what their ids mean, their frames and the conditions of these. `unused`:
    stamps of labels in a folder, to which other sets may belong, that have no image in this one;
    None for labels of its own.
    """

    title: str
    label_set: LabelSet
    is_film: bool
    problems: Problems
    unused: frozenset[str] | None

    @property
    def keys(self) -> Sequence[FrameKey]: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def labels_fingerprint(self) -> str: ...

    def images(self, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The images at the places `wanted` (ascending), RGB uint8 (H, W, 3).

        An image that cannot be read becomes a problem, and is left out.
        """
        ...

    def labels(self, wanted: Sequence[int]) -> Iterator[tuple[int, Callable[[], np.ndarray]]]:
        """What reads the labels, uint8 (H, W), for each place in `wanted` that has some.

        They come in the order of `wanted`. The calls may run in other threads; they raise
        DgssError for labels that cannot be read.
        """
        ...


Sets = Callable[[int], FrameSet]
"""The sets of frames of an evaluation by their number, opened when they are asked for."""
