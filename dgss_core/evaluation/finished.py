"""A finished evaluation: what `dgss evaluate` wrote, with the counts of its frames."""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core.confusion import class_iou
from dgss_core.documents import fault_of
from dgss_core.errors import DgssError, missing_error, one_line
from dgss_core.evaluation.counts import LEVELS, UNREADABLE, FrameCounts, from_arrays
from dgss_core.evaluation.folder import COUNTS, read_results
from dgss_core.evaluation.frames import short_drives
from dgss_core.evaluation.measures import class_mean
from dgss_core.evaluation.scores import number
from dgss_core.labels import LabelSet

Key = tuple[str, str]
"""Drive and name of a frame."""


@dataclass(frozen=True)
class Run:
    """An evaluation that `dgss evaluate` wrote.

    `counts`: of its labelled frames, by `Key`, in their order. `conditions`: of these frames.
    `repeated`: keys that several of its frames have.
    """

    folder: Path
    results: Mapping[str, Any]
    labels: LabelSet
    band: int
    counts: Mapping[Key, FrameCounts]
    conditions: Mapping[Key, str]
    repeated: frozenset[Key]

    @property
    def identity(self) -> str:
        return str(self.results['predictor']['identity'])


def read_run(folder: Path) -> Run:
    """Read `results.json` and `counts.npz` of an evaluation.

    Raises DgssError if one of them is missing, damaged, or not of the other.
    """
    results = read_results(folder)
    folder = folder if folder.is_dir() else folder.parent
    try:
        named = results['label_set']
        labels = LabelSet.from_dict(
            {
                'name': named['name'],
                'labels': [{'id': k, **entry} for k, entry in enumerate(named['classes'])],
            },
            f'The label set of {folder}',
        )
        short = short_drives(str(entry['drive']) for entry in results['frames'])
        frames = [_Place.of(entry, short) for entry in results['frames']]
        str(results['predictor']['identity']), str(results['protocol'])
    except (KeyError, TypeError, AttributeError) as error:
        raise DgssError(
            f'{folder} holds an unusable results.json ({fault_of(error)}); evaluate again.'
        ) from error
    every = _read_counts(folder / COUNTS, len(frames), len(labels))
    if not all(_is_of(frame, one) for frame, one in zip(frames, every, strict=True)):
        raise DgssError(
            f'The {COUNTS} of {folder} holds the counts of another evaluation than its '
            'results.json; evaluate again.'
        )
    repeated = frozenset(
        key for key, times in Counter(frame.key for frame in frames).items() if times > 1
    )
    used = {
        frame.key: place
        for place, frame in enumerate(frames)
        if frame.is_labelled and frame.key not in repeated
    }
    counts = {key: every[place] for key, place in used.items()}
    conditions = {key: frames[place].condition for key, place in used.items()}
    band = every[0].band if every else 0
    return Run(folder, results, labels, band, counts, conditions, repeated)


@dataclass(frozen=True)
class _Place:
    key: Key
    condition: str
    is_labelled: bool
    pixels: int
    miou: float | None

    @classmethod
    def of(cls, entry: Mapping[str, Any], drives: Mapping[str, str]) -> _Place:
        key = (drives[str(entry['drive'])], str(entry['name']))
        miou = None if entry['miou'] is None else float(entry['miou'])
        pixels = int(entry['labelled_pixels'])
        return cls(key, str(entry['condition']), bool(entry['labelled']), pixels, miou)


def _is_of(frame: _Place, counts: FrameCounts) -> bool:
    """Whether counts are those from which the results of a frame were computed."""
    if int(counts.confusion.sum()) != frame.pixels:
        return False
    miou = number(class_mean(class_iou(counts.confusion)))
    if miou is None or frame.miou is None:
        return miou is frame.miou
    return math.isclose(miou, frame.miou, rel_tol=1e-9)


def _read_counts(path: Path, frames: int, classes: int) -> list[FrameCounts]:
    """The counts of every frame. Raises DgssError."""
    if not path.is_file():
        raise missing_error(
            path,
            f'{path.parent} holds no {COUNTS}, the counts of its frames; copy it beside '
            'results.json, or evaluate again.',
        )
    try:
        _check_size(path, 8 * frames * (2 + 2 * classes * (classes + 1) + 4 * LEVELS))
        with np.load(path, allow_pickle=False) as stored:
            counts = from_arrays(stored)
        if len(counts) != frames or any(len(one.confusion) != classes for one in counts[:1]):
            raise ValueError(f'it holds {len(counts)} frames')
    except UNREADABLE as error:
        raise DgssError(
            f'{path} does not hold the counts of the {frames} frames of its results.json '
            f'({one_line(error).rstrip(".")}); evaluate again.'
        ) from error
    return counts


def _check_size(path: Path, expected: int) -> None:
    """Raise ValueError for a file whose arrays are much larger than those of its frames."""
    with zipfile.ZipFile(path) as archive:
        found = sum(entry.file_size for entry in archive.infolist())
    if found > expected + (1 << 16):
        raise ValueError(f'it unpacks to {found} bytes instead of {expected}')
