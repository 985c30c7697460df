"""What `dgss evaluate` does, as it is told to a process of a fleet: values, and nothing open."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dgss_core import __version__
from dgss_core.commands.evaluate_models import (
    Facts,
    Model,
    of_bundle,
    of_checkpoint,
    of_masks,
    open_masks,
)
from dgss_core.datasets import build_dataset
from dgss_core.datasets.protocols import Protocol
from dgss_core.datasets.registry import is_copy, takes_protocol_map
from dgss_core.datasets.synthetic import SYNTHETIC
from dgss_core.errors import DgssError, cause
from dgss_core.evaluation.assembly import Settings
from dgss_core.evaluation.bag_frames import BagFrames, BagOptions, numbered
from dgss_core.evaluation.corruption_suite import Counts
from dgss_core.evaluation.dataset_frames import DatasetFrames
from dgss_core.evaluation.folder import EvaluationFolder
from dgss_core.evaluation.frames import FrameSet
from dgss_core.evaluation.ood import OodFolder
from dgss_core.evaluation.run import Part, run_corrupted, run_part
from dgss_core.labels import LabelSet
from dgss_core.runtime.backend import Report
from dgss_core.runtime.bundle import open_bundle

Source = str | Path
"""A data set as DATASET[:SPLIT[:CONDITION]], or the path of a bag."""


@dataclass(frozen=True)
class Reading:
    """How frames are read, as the options of the same names say.

    `bag_labels`: the label set of labels in bags; None if nobody said it.
    """

    root: Path | None
    protocol: Protocol
    options: BagOptions
    bag_labels: LabelSet | None

    def frames(self, source: Source) -> FrameSet:
        """The frames of a source. Raises DgssError if they cannot be read."""
        if isinstance(source, str):
            return _dataset(source, self.root, self.protocol)
        return BagFrames(source, self._bag_labels(source), self.options)

    def label_sets(self, sources: Sequence[Source]) -> list[LabelSet]:
        """The label sets of sources, without those that cannot be read; bags are not opened.

        Raises DgssError if none can be read.
        """
        found, errors = [], []
        for source in sources:
            try:
                found.append(
                    self.frames(source).label_set
                    if isinstance(source, str)
                    else self._bag_labels(source)
                )
            except DgssError as error:
                errors.append(error)
        if not found:
            raise errors[0]
        return found

    def _bag_labels(self, bag: Path) -> LabelSet:
        if self.bag_labels is None:
            raise DgssError(f'The labels of {bag} may mean anything; give their --label-set.')
        return self.bag_labels


@dataclass(frozen=True)
class Predicting:
    """What predicts, as the options of the same names say.

    `labels`: of masks, if they differ from the label set of the scores.
    """

    bundle: Path | None
    checkpoint: Path | None
    predictions: Path | None
    against: Path | None
    mask_topic: str | None
    labels: LabelSet | None
    backend: str
    threads: int


@dataclass(frozen=True)
class Job:
    """An evaluation. `label_set`: of the scores. `corruptions`: severities.

    `working`, `version`: the folder in which paths are meant, and the version of this package.
    """

    reading: Reading
    predicting: Predicting
    folder: EvaluationFolder
    label_set: LabelSet
    settings: Settings
    ood: OodFolder | None
    corruptions: Sequence[int]
    working: Path = field(default_factory=Path.cwd)
    version: str = __version__

    @property
    def by_names(self) -> list[Path]:
        """The folders whose files belong to frames by their names."""
        masks = self.predicting.predictions
        found = [] if masks is None or not isinstance(open_masks(masks), Path) else [masks]
        return found if self.ood is None else [*found, self.ood.folder]

    def models(self, stack: ExitStack, report: Report) -> list[Model]:
        """What is scored and, where asked for, what it is compared with, open until `stack` ends.

        Raises DgssError for what cannot be run.
        """
        of = self.predicting
        ways, tolerance_ns = self.reading.protocol, self.reading.options.tolerance_ns
        run = partial(
            of_bundle, stack, backend=of.backend, threads=of.threads, ways=ways, report=report
        )
        if of.predictions is not None:
            masks = open_masks(of.predictions)
            model = of_masks(masks, of.labels or self.label_set, of.mask_topic, tolerance_ns)
        elif of.checkpoint is not None:
            model = of_checkpoint(of.checkpoint, ways, of.threads)
        else:
            model = run(open_bundle(of.bundle))
        return [model, *([run(open_bundle(of.against))] if of.against is not None else [])]

    def __call__(self) -> Callable[[tuple[int, Source]], Shard]:
        """Open the models in a process of a fleet; returns what evaluates a numbered source."""
        if self.version != __version__:
            raise DgssError(
                f'A worker has dgss {__version__} and the command {self.version}; install the '
                'same on every machine.'
            )
        try:
            os.chdir(self.working)
        except OSError as error:
            raise DgssError(
                f'A worker cannot open {self.working} ({cause(error)}); put the drives and the '
                'output on a file system that all machines share, and start in a folder of it.'
            ) from error
        said: list[str] = []
        models = self.models(ExitStack(), said.append)

        def evaluate(item: tuple[int, Source]) -> Shard:
            number, source = item
            return self.shard(self.reading.frames(source), number, models, said)

        return evaluate

    def shard(
        self, frames: FrameSet, number: int, models: Sequence[Model], said: Sequence[str] = ()
    ) -> Shard:
        """Evaluate the source of that number."""
        predictors = [model.predictor for model in models]
        part = run_part(
            frames,
            number,
            predictors[0],
            self.folder,
            self.label_set,
            self.settings,
            statistics=models[0].statistics,
            against=predictors[1] if len(predictors) > 1 else None,
            ood=self.ood,
        )
        suites = []
        if self.corruptions:
            suites = run_corrupted(
                frames, predictors, self.label_set, self.folder, self.settings, self.corruptions,
                ood=self.ood,
            )  # fmt: skip
        return Shard(part, [model.facts for model in models], suites, list(said))


@dataclass(frozen=True)
class Shard:
    """What a process of a fleet found on one source.

    `models`: what predicted. `suites`: of each of these, under corruptions. `said`: when it was
    opened.
    """

    part: Part
    models: list[Facts]
    suites: list[Counts]
    said: list[str]


def _dataset(spec: str, root: Path | None, ways: Protocol) -> DatasetFrames:
    """A data set as DATASET[:SPLIT[:CONDITION]]. Raises DgssError."""
    name, *rest = spec.split(':')
    if len(rest) > 2:
        raise DgssError(f'{spec} is not DATASET, DATASET:SPLIT or DATASET:SPLIT:CONDITION.')
    split, condition = (*rest, None, None)[:2]
    options: dict[str, Any] = {'condition': condition} if condition else {}
    if is_copy(name):
        options['labelled'] = False
        if takes_protocol_map(name):
            options['mapping'] = ways.map
    elif condition and name == SYNTHETIC:
        options = {'conditions': (condition,)}
    where = root
    if root is not None and (root / Path(name).stem).exists():
        where = root / Path(name).stem
    dataset = build_dataset(name, where, split or None, **options)
    return DatasetFrames(dataset, ways.view(Path(name).stem))


def refuse_repeated(sources: Sequence[Source]) -> None:
    """Raise DgssError if one of the sources is there twice: its frames would count twice."""
    seen, parents = set[Source](), set[Source]()
    for source in sources:
        key: Source = source.resolve() if isinstance(source, Path) else source.rstrip(':')
        # A recording, and the folder that it is the recording of.
        parent = {key.parent} if isinstance(key, Path) and key.is_file() else set()
        if key in seen | parents or parent & seen:
            raise DgssError(f'{source} is given twice; name everything once.')
        seen |= {key}
        parents |= parent


def refuse_for_several_bags(
    predictions: Path | None, ood: Path | None, labels: str | None
) -> None:
    """Raise DgssError for folders of files by the names of frames: all bags name theirs alike."""
    if predictions is not None and isinstance(open_masks(predictions), Path):
        raise DgssError(
            f'{predictions} is a folder of masks, which belong to their frames by name, and '
            'several bags have frames of the same names; evaluate one bag at a time, or give a '
            'bag of masks.'
        )
    if ood is not None:
        raise DgssError(
            f'The OOD labels in {ood} belong to their frames by name, and several bags have '
            'frames of the same names; evaluate one bag at a time.'
        )
    if labels is not None and Path(labels).is_dir() and numbered(Path(labels)):
        raise DgssError(
            f'{labels} holds labels by the numbers of the frames, which several bags have; '
            'evaluate one bag at a time, or name the labels by the stamps of the images.'
        )


def refuse_shared_names(names: Iterable[Iterable[str]], folders: Sequence[Path]) -> None:
    """Raise DgssError if a file of a folder belongs to frames of several sources by its name.

    `names`: of the frames of each source. `folders`: of masks and of OOD labels.
    """
    if not folders:
        return
    times = Counter(name for of_source in names for name in of_source)
    for name in (name for name, count in times.items() if count > 1):
        for folder in folders:
            if (folder / f'{name}.png').exists():
                raise DgssError(
                    f'{name}.png of {folder} belongs to a frame of each of {times[name]} sources; '
                    'evaluate them one by one.'
                )
