"""One evaluation: predict what is missing, score, and collect the results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from dgss_core.errors import DgssError
from dgss_core.evaluation.assembly import Settings, assemble, problems_of
from dgss_core.evaluation.corruption_suite import Counts, SuiteOptions, run_suite
from dgss_core.evaluation.folder import CORRUPTIONS, PREDICTIONS, EvaluationFolder
from dgss_core.evaluation.frames import UNUSED, FrameSet, Problem, Problems
from dgss_core.evaluation.observing import Second
from dgss_core.evaluation.ood import OodFolder
from dgss_core.evaluation.predict import Show, predict, quietly
from dgss_core.evaluation.predictors import Predictor
from dgss_core.evaluation.results import ALL, Suite
from dgss_core.evaluation.scoring import Classes, ScoredFrame, score
from dgss_core.evaluation.store import PredictionStore
from dgss_core.evaluation.suite_summary import suite_results
from dgss_core.labels import LabelSet
from dgss_core.runtime.manifest import SourceStatistics
from dgss_core.runtime.pipeline import opencv_in_one_thread


@dataclass(frozen=True)
class Part:
    """What was found on one set of frames.

    `frames`: those that were predicted. `source`: what `results.json` says of the set. `store`:
    the file of its predictions, and the line that names them; None if it was not evaluated.
    `names`: of all its frames. `unused`: as in `FrameSet`.
    """

    frames: list[ScoredFrame]
    source: dict[str, Any]
    problems: list[Problem]
    store: tuple[Path, str] | None = None
    names: Sequence[str] = ()
    unused: frozenset[str] | None = None


@dataclass(frozen=True)
class Evaluation:
    """What was evaluated: one part for each set of frames, in the classes of `label_set`.

    `frames`: those that were predicted. `results`: for `results.json`.
    """

    parts: list[Part]
    frames: list[ScoredFrame]
    label_set: LabelSet
    results: dict[str, Any]

    def store(self, number: int) -> PredictionStore:
        """The predictions on the set of that number; KeyError if there are none."""
        place = self.parts[number].store
        if place is None:
            raise KeyError(number)
        return PredictionStore(*place)


def common_label_set(found: Iterable[LabelSet], asked: LabelSet | None) -> LabelSet:
    """The label set in which frames with these label sets are scored.

    Raises DgssError if they have several and none is `asked`.
    """
    if asked is not None:
        return asked
    by_name = {labels.name: labels for labels in found}
    if len(by_name) > 1:
        raise DgssError(
            f'The labels are of {" and of ".join(sorted(by_name))}; choose the one to score in '
            'by --label-set, or evaluate them one by one.'
        )
    return next(iter(by_name.values()))


def run(
    sets: Sequence[FrameSet],
    predictor: Predictor,
    folder: EvaluationFolder,
    label_set: LabelSet,
    settings: Settings,
    *,
    statistics: SourceStatistics | None = None,
    against: Predictor | None = None,
    ood: OodFolder | None = None,
    show: Show = quietly,
) -> Evaluation:
    """Evaluate `predictor` on `sets`, in the classes of `label_set`.

    `ood`: labels of what lies outside the distribution, by the names of frames. `against`: a
    second predictor, to measure where both agree. Predictions that `folder` holds are used again.
    Raises DgssError if label sets have no merge to `label_set`, and if no frame at all could be
    predicted.
    """
    for frames in sets:
        Classes.of(predictor.labels, frames.label_set, label_set)
    parts = [
        run_part(
            frames, number, predictor, folder, label_set, settings, statistics=statistics,
            against=against, ood=ood, show=show,
        )
        for number, frames in enumerate(sets)
    ]  # fmt: skip
    return merged(parts, label_set, settings, ood)


def run_part(
    frames: FrameSet,
    number: int,
    predictor: Predictor,
    folder: EvaluationFolder,
    label_set: LabelSet,
    settings: Settings,
    *,
    statistics: SourceStatistics | None = None,
    against: Predictor | None = None,
    ood: OodFolder | None = None,
    show: Show = quietly,
) -> Part:
    """As `run`, for the set of frames of that number alone."""
    classes = Classes.of(predictor.labels, frames.label_set, label_set)
    theirs = None
    if against is not None:
        advice = f'compare with another bundle, or score in {against.labels.name} with --label-set'
        theirs = against.labels.merge_to(label_set, advice)
    with opencv_in_one_thread(), ExitStack() as stack:
        store, place = _predicted(stack, frames, predictor, folder, show)
        second = None
        if against is not None and theirs is not None:
            other, _ = _predicted(stack, frames, against, folder, show)
            second = Second(other, classes.masks, theirs)
        found = score(
            frames,
            store,
            classes,
            source=number,
            band=settings.band,
            statistics=statistics,
            second=second,
            ood=ood,
            estimate=settings.estimate,
            show=show,
        )
    source = {
        'title': frames.title,
        'kind': 'bag' if frames.is_film else 'dataset',
        'frames': len(frames.keys),
        'predicted': len(found),
        'labelled': sum(frame.counts is not None for frame in found),
    }
    names = [key.name for key in frames.keys]
    return Part(found, source, [*frames.problems], place, names, frames.unused)


def merged(
    parts: list[Part], label_set: LabelSet, settings: Settings, ood: OodFolder | None = None
) -> Evaluation:
    """The scores of all parts together: pixel counts add, so that they are those of one run.

    Raises DgssError if no frame at all was predicted.
    """
    scored = [frame for part in parts for frame in part.frames]
    of_all = Problems()
    unused_labels = [part.unused for part in parts if part.unused is not None]
    if unused_labels and (alone := frozenset.intersection(*unused_labels)):
        of_all.add(UNUSED, *sorted(alone))
    if ood and (unused := ood.unused(name for part in parts for name in part.names)):
        of_all.add(
            f'A file of {ood.folder} is the OOD label of no frame; name it as its frame is named '
            'in results.json, with .png.',
            *unused,
        )
    if not scored:
        # What kept the frames from being predicted comes after what is said of their labels.
        problems = problems_of(part.problems for part in parts)
        reason = problems[-1]['what'] if problems else 'the data holds none.'
        few = problems[-1]['frames'][:3] if problems else []
        named = f' The first such frames are called {", ".join(few)}.' if few else ''
        raise DgssError(f'No frame could be evaluated: {reason}{named}')
    found = assemble(scored, label_set, settings)
    total = found['conditions'][ALL]
    if total['frames'] and not total['labelled_pixels'] and ood is None:
        of_all.add(
            f'No pixel of the labels has a class of {label_set.name}; look whether they are the '
            'labels of these images, and in its ids.'
        )
    results = {
        'sources': [part.source for part in parts],
        **found,
        'problems': problems_of([*(part.problems for part in parts), of_all]),
    }
    return Evaluation(parts, scored, label_set, results)


def run_corrupted(
    frames: FrameSet,
    predictors: Sequence[Predictor],
    label_set: LabelSet,
    folder: EvaluationFolder,
    settings: Settings,
    severities: Sequence[int],
    show: Show = quietly,
    ood: OodFolder | None = None,
) -> list[Counts]:
    """What each predictor does under every corruption, over a set of frames."""
    named = {str(number): predictor for number, predictor in enumerate(predictors)}
    options = SuiteOptions(severities=severities, seed=settings.seed, band=settings.band)
    kept = folder.path / PREDICTIONS / CORRUPTIONS
    with opencv_in_one_thread():
        return [*run_suite(frames, named, label_set, kept, options, show, ood).values()]


def merged_suites(found: Sequence[Sequence[Counts]]) -> list[Suite]:
    """The corruption suite of each predictor, over all sets of frames together.

    `found`: of each set, as `run_corrupted` returns it.
    """
    return [
        suite_results({cell: reduce(add, (one[cell] for one in of_sets)) for cell in of_sets[0]})
        for of_sets in zip(*found, strict=True)
    ]


def _predicted(
    stack: ExitStack,
    frames: FrameSet,
    predictor: Predictor,
    folder: EvaluationFolder,
    show: Show,
) -> tuple[PredictionStore, tuple[Path, str]]:
    """The store of a predictor, with all frames that can be predicted, and its place."""
    identity = f'{predictor.identity} on {frames.fingerprint}'
    place = folder.store(identity), identity
    store = stack.enter_context(PredictionStore(*place))
    predict(frames, predictor, store, show)
    return store, place
