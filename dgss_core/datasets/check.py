"""Read every file of a copy of a dataset and report what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from dgss_core.datasets.contents import count_ids, has_own_ids, label_problem
from dgss_core.datasets.matching import LabelFile
from dgss_core.datasets.pairs import Pairs
from dgss_core.errors import DgssError
from dgss_core.images.label_files import palette_of
from dgss_core.images.stills import is_turned


@dataclass(frozen=True)
class CheckFinding:
    """The result for one frame: (width, height) of its image, or the problem.

    `pixels`: of each id in its labels, int64 (256,); None for a frame without labels.
    """

    name: str
    size: tuple[int, int] | None = None
    pixels: np.ndarray | None = None
    problem: str | None = None


@dataclass
class CheckReport:
    """The result for one split.

    `expected`: published number of frames; `gaps`: number of frames without labels; `read`: number
    of frames read; `good`: names of the frames without a problem; `void`: of the frames without a
    labelled pixel; `pixels`: of each id, int64 (256,); `problems`: one sentence each.
    """

    split: str
    frames: int = 0
    expected: int | None = None
    gaps: int = 0
    read: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    good: list[str] = field(default_factory=list)
    void: list[str] = field(default_factory=list)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    problems: list[str] = field(default_factory=list)


def examine(dataset: Pairs, index: int) -> CheckFinding:
    """Read the image and the labels of one frame, and check its palette."""
    pair = dataset.pairs[index]
    try:
        sample = dataset[index]
        if pair.labels and is_turned(dataset.storage.read(pair.image)):
            raise DgssError(
                f'{dataset.storage.where(pair.image)} has an EXIF orientation, and its labels '
                'have none; check on the sheet that they fit, and save the image without the tag.'
            )
        if pair.labels and dataset.layout.palette and pair.labels.map.colors:
            _check_palette(dataset, pair.labels)
    except DgssError as error:
        return CheckFinding(pair.name, problem=str(error))
    height, width = sample.labels.shape
    pixels = count_ids(sample.labels) if pair.labels else None
    return CheckFinding(pair.name, (width, height), pixels)


def examine_all(dataset: Pairs, indices: Iterable[int], threads: int) -> Iterator[CheckFinding]:
    """`examine` many frames in `threads`; the results keep the order of `indices`."""
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda index: examine(dataset, index), indices)


def report_on(split: str, dataset: Pairs, findings: Iterable[CheckFinding]) -> CheckReport:
    """Collect the findings of a split that was opened with `labelled=False`."""
    report = CheckReport(split, len(dataset), dataset.split.count, len(dataset.unlabelled))
    if report.expected is not None and report.frames != report.expected:
        report.problems.append(
            f'{split} has {report.frames} frames, and {report.expected} were published; '
            'copy the missing frames, or remove other files from the root.'
        )
    if dataset.unused:
        report.problems.append(
            f'{len(dataset.unused)} label files of {split} belong to no image, the first is '
            f'{dataset.storage.where(dataset.unused[0])}; copy its image too, or correct the name.'
        )
    missing = set()
    if dataset.split.labelled and not dataset.layout.gaps:
        missing = {pair.name for pair in dataset.unlabelled}
        report.problems += [
            f'{dataset.storage.where(pair.image)} has no labels; copy them too.'
            for pair in dataset.unlabelled
        ]
    for finding in findings:
        report.read += 1
        if finding.problem:
            report.problems.append(finding.problem)
        elif finding.name not in missing:
            report.good.append(finding.name)
        if finding.size:
            report.sizes[finding.size] += 1
        if finding.pixels is not None:
            report.pixels += finding.pixels
            if not finding.pixels[: len(dataset.label_set)].any():
                report.void.append(finding.name)
    if report.pixels.any():
        own_ids = has_own_ids(dataset)
        problem = label_problem(dataset.title, dataset.label_set, report.pixels, own_ids)
        report.problems += [problem] if problem else []
    return report


def _check_palette(dataset: Pairs, file: LabelFile) -> None:
    """Raise DgssError if the palette of a PNG does not have the colours of its ids."""
    palette = palette_of(dataset.storage.read(file.path))
    where = dataset.storage.where(file.path)
    if palette is None:
        raise DgssError(f'{where} has no palette, as the published file has; copy it again.')
    for stored, color in file.map.colors.items():
        if stored < len(palette) and tuple(palette[stored]) != tuple(color):
            raise DgssError(
                f'{where} paints the id {stored} {tuple(palette[stored].tolist())} and not '
                f'{tuple(color)}; it is not the published file, copy it again.'
            )
