"""The scores under every corruption at every severity, of one predictor or of several."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dgss_core import __version__
from dgss_core.corruptions import CORRUPTIONS, EVALUATED, SEVERITIES, corrupt
from dgss_core.errors import DgssError, cause, unknown
from dgss_core.evaluation.conditions import IGNORE
from dgss_core.evaluation.counts import (
    BAND,
    UNREADABLE,
    FrameCounts,
    from_arrays,
    pack_arrays,
    to_arrays,
)
from dgss_core.evaluation.frames import FrameSet
from dgss_core.evaluation.ood import OodFolder
from dgss_core.evaluation.predict import Show, quietly
from dgss_core.evaluation.predictors import Predictor
from dgss_core.evaluation.scoring import Classes, count_frame
from dgss_core.files import write_whole
from dgss_core.labels import LabelSet
from dgss_core.paths import writing
from dgss_core.runtime.pipeline import in_threads


class Cell(NamedTuple):
    """A corruption and its severity, 1 to 5; ('', 0) are the clean frames."""

    name: str
    severity: int

    def __str__(self) -> str:
        return f'{self.name}_{self.severity}' if self.name else 'clean'


CLEAN = Cell('', 0)


@dataclass(frozen=True)
class SuiteOptions:
    """What is measured. The noise of a frame depends on `seed` and on its name alone.

    Raises DgssError for an unknown corruption or severity.
    """

    names: Sequence[str] = EVALUATED
    severities: Sequence[int] = SEVERITIES
    seed: int = 0
    band: int = BAND

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in CORRUPTIONS:
                raise unknown('corruption', name, CORRUPTIONS)
        for severity in self.severities:
            if severity not in SEVERITIES:
                raise DgssError(f'The severity {severity} is unknown; give some of 1 to 5.')

    @property
    def cells(self) -> list[Cell]:
        """The clean frames first."""
        return [CLEAN, *(Cell(*pair) for pair in product(self.names, self.severities))]


Counts = dict[Cell, FrameCounts]
"""The sum over all frames."""


def run_suite(
    frames: FrameSet,
    predictors: Mapping[str, Predictor],
    label_set: LabelSet,
    folder: Path,
    options: SuiteOptions | None = None,
    show: Show = quietly,
    ood: OodFolder | None = None,
) -> dict[str, Counts]:
    """Count what each of the `predictors` does under every corruption of the same images.

    Take clean frames, of the day. `folder` keeps every cell that is done; a run that was
    interrupted goes on there. `ood`: labels of what lies outside the distribution, which counts in
    no score. A frame that cannot be scored clean becomes a problem of `frames`
    and is left out of every cell. Raises DgssError if no frame is left, a label set has no
    merge to `label_set`, or a cell cannot be kept or read.
    """
    options = options or SuiteOptions()
    bench = _Bench(frames, predictors, label_set, options, ood)
    kept = folder / bench.identity
    found: dict[str, Counts] = {name: {} for name in predictors}
    places = [index for index, key in enumerate(frames.keys) if key.condition != IGNORE]
    for cell in show(options.cells, f'Corrupting {frames.title}', len(options.cells)):
        path = kept / f'{cell}.npz'
        if path.exists():
            places, sums = _load(path, len(predictors))
        else:
            places, sums = bench.count(cell, places)
            with writing(path):
                kept.mkdir(parents=True, exist_ok=True)
                write_whole(path, _packed(places, sums))
        for name, counts in zip(predictors, sums, strict=True):
            found[name][cell] = counts
    return found


class _Bench:
    """The frames, and what answers for them."""

    def __init__(
        self,
        frames: FrameSet,
        predictors: Mapping[str, Predictor],
        label_set: LabelSet,
        options: SuiteOptions,
        ood: OodFolder | None,
    ) -> None:
        self.frames, self.options, self.ood = frames, options, ood
        self.predictors = list(predictors.values())
        self.classes = [
            Classes.of(predictor.labels, frames.label_set, label_set)
            for predictor in self.predictors
        ]
        facts = (
            __version__,
            frames.fingerprint,
            frames.labels_fingerprint,
            *(predictor.identity for predictor in self.predictors),
            label_set.to_dict(),
            options.seed,
            options.band,
            ood and ood.fingerprint,
        )
        self.identity = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def count(self, cell: Cell, places: Sequence[int]) -> tuple[list[int], list[FrameCounts]]:
        """The places of the frames that were counted, and the sum for each predictor."""
        counted: list[int] = []
        sums: list[FrameCounts] = []
        for predictor in self.predictors:
            predictor.begin(self.frames)

        def prepare(entry: tuple[int, np.ndarray]) -> tuple[int, list[Any]]:
            image = self._corrupted(cell, *entry)
            return entry[0], [predictor.prepare(image) for predictor in self.predictors]

        prepared = in_threads(prepare, self.frames.images(places))
        lanes = min(predictor.lanes for predictor in self.predictors)
        entries = self._with_labels(prepared, places)
        for place, found in in_threads(self._count_frame, entries, lanes):
            if isinstance(found, DgssError):
                self.frames.problems.add(str(found), self.frames.keys[place].name)
                continue
            counted.append(place)
            sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
        if not sums:
            raise DgssError(
                f'{self.frames.title} has no labelled frame that can be scored; choose frames '
                'with labels.'
            )
        if cell != CLEAN and counted != [*places]:
            raise DgssError(
                f'Of {len(places)} frames of {self.frames.title} only {len(counted)} could be '
                f'scored with {cell}, so that it compares with nothing; run it again.'
            )
        return counted, sums

    def _corrupted(self, cell: Cell, place: int, image: np.ndarray) -> np.ndarray:
        if cell == CLEAN:
            return image
        key = f'{self.options.seed} {self.frames.keys[place].name}'
        return corrupt(image, cell.name, cell.severity, seed=zlib.crc32(key.encode()))

    def _with_labels(
        self, prepared: Iterator[tuple[int, list[Any]]], places: Sequence[int]
    ) -> Iterator[tuple[int, list[Any], Any]]:
        """Both come in the order of their places, and either may lack some."""
        readers = self.frames.labels(places)
        ahead = next(readers, None)
        for place, inputs in prepared:
            while ahead is not None and ahead[0] < place:
                ahead = next(readers, None)
            if ahead is not None and ahead[0] == place:
                yield place, inputs, ahead[1]

    def _count_frame(
        self, entry: tuple[int, list[Any], Any]
    ) -> tuple[int, list[FrameCounts] | DgssError]:
        place, inputs, read = entry
        try:
            return place, self._counts(place, inputs, read())
        except DgssError as error:
            return place, error

    def _counts(self, place: int, inputs: list[Any], labels: np.ndarray) -> list[FrameCounts]:
        """One for each predictor."""
        found = []
        name = self.frames.keys[place].name
        unusual = self.ood.read(name) if self.ood and name in self.ood else None
        for predictor, prepared, classes in zip(
            self.predictors, inputs, self.classes, strict=True
        ):
            answer = predictor.predict(self.frames.keys[place], prepared)
            if answer is None:
                raise DgssError('A frame has no mask and is not scored.')
            found.append(count_frame(answer, labels, classes, self.options.band, unusual))
        return found


def _packed(places: Sequence[int], sums: Sequence[FrameCounts]) -> bytes:
    return pack_arrays([('places', np.array(places)), *to_arrays(sums)])


def _load(path: Path, predictors: int) -> tuple[list[int], list[FrameCounts]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            sums = from_arrays(arrays)
            if len(sums) != predictors:
                raise ValueError(f'it holds {len(sums)} predictors')
            return arrays['places'].tolist(), sums
    except UNREADABLE as error:
        raise DgssError(
            f'{path} cannot be read ({cause(error)}); delete it, and it is measured again.'
        ) from error
