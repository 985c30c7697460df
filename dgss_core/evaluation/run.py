"""One evaluation: predict what is missing, score, and collect the results."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from dgss_core.errors import DgssError
from dgss_core.evaluation.assembly import Settings, assemble, problems_of
from dgss_core.evaluation.corruption_suite import SuiteOptions, run_suite
from dgss_core.evaluation.folder import CORRUPTIONS, PREDICTIONS, EvaluationFolder
from dgss_core.evaluation.frames import FrameSet
from dgss_core.evaluation.observing import Second
from dgss_core.evaluation.ood import OodFolder
from dgss_core.evaluation.predict import Show, predict, quietly
from dgss_core.evaluation.predictors import Predictor
from dgss_core.evaluation.results import Suite
from dgss_core.evaluation.scoring import Classes, ScoredFrame, score
from dgss_core.evaluation.store import PredictionStore
from dgss_core.evaluation.suite_summary import suite_results
from dgss_core.labels import LabelSet
from dgss_core.runtime.manifest import SourceStatistics


@dataclass(frozen=True)
class Evaluation:
    """What was evaluated. `frames`: those that were predicted. `results`: for `results.json`."""

    frames: list[ScoredFrame]
    label_set: LabelSet
    results: dict[str, Any]


def common_label_set(sets: Sequence[FrameSet], asked: LabelSet | None) -> LabelSet:
    """The label set in which all `sets` are scored. Raises DgssError if they have several."""
    found = {frames.label_set.name: frames.label_set for frames in sets}
    if asked is not None:
        return asked
    if len(found) > 1:
        raise DgssError(
            f'The labels are of {" and of ".join(sorted(found))}; choose the one to score in by '
            '--label-set, or evaluate them one by one.'
        )
    return next(iter(found.values()))


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
    estimate: bool = False,
    show: Show = quietly,
) -> Evaluation:
    """Evaluate `predictor` on `sets`, in the classes of `label_set`.

    `ood`: labels of what lies outside the distribution, by the names of frames. `estimate`:
    estimate conditions from the images, for frames of which nobody said it. `against`: a second
    predictor, to measure where both agree. Predictions that `folder` holds are used again. Raises
    DgssError if label sets have no merge to `label_set`, and if no frame at all could be
    predicted.
    """
    classes = [Classes.of(predictor.labels, frames.label_set, label_set) for frames in sets]
    theirs = against.labels.merge_to(label_set) if against is not None else None
    scored: list[ScoredFrame] = []
    sources = []
    for number, frames in enumerate(sets):
        with ExitStack() as stack:
            store = _predicted(stack, frames, predictor, folder, show)
            second = None
            if against is not None and theirs is not None:
                other = _predicted(stack, frames, against, folder, show)
                second = Second(other, classes[number].masks, theirs)
            found = score(
                frames,
                store,
                classes[number],
                source=number,
                band=settings.band,
                statistics=statistics,
                second=second,
                ood=ood,
                estimate=estimate,
                show=show,
            )
        scored += found
        sources.append(
            {
                'title': frames.title,
                'kind': 'bag' if frames.is_film else 'dataset',
                'frames': len(frames.keys),
                'predicted': len(found),
                'labelled': sum(frame.counts is not None for frame in found),
            }
        )
    if ood and (unused := ood.unused(key.name for frames in sets for key in frames.keys)):
        sets[0].problems.add(
            f'A file of {ood.folder} is the OOD label of no frame; name it as its frame is named '
            'in results.json, with .png.',
            *unused,
        )
    problems = problems_of(frames.problems for frames in sets)
    if not scored:
        reason = problems[0]['what'] if problems else 'the data holds none.'
        raise DgssError(f'No frame could be evaluated: {reason}')
    results = {'sources': sources, **assemble(scored, label_set, settings), 'problems': problems}
    return Evaluation(scored, label_set, results)


def corrupted(
    sets: Sequence[FrameSet],
    predictors: Sequence[Predictor],
    label_set: LabelSet,
    folder: EvaluationFolder,
    settings: Settings,
    severities: Sequence[int],
    show: Show = quietly,
) -> list[Suite]:
    """The corruption suite of each predictor, over the frames of all `sets` together."""
    named = {str(number): predictor for number, predictor in enumerate(predictors)}
    options = SuiteOptions(severities=severities, seed=settings.seed, band=settings.band)
    kept = folder.path / PREDICTIONS / CORRUPTIONS
    found = [run_suite(one, named, label_set, kept, options, show) for one in sets]
    return [
        suite_results({cell: reduce(add, (one[name][cell] for one in found)) for cell in cells})
        for name, cells in found[0].items()
    ]


def place_of(frames: FrameSet, predictor: Predictor, folder: EvaluationFolder) -> tuple[Path, str]:
    """The file of the predictions on a set of frames, and the line that names them."""
    identity = f'{predictor.identity} on {frames.fingerprint}'
    return folder.store(identity), identity


def _predicted(
    stack: ExitStack,
    frames: FrameSet,
    predictor: Predictor,
    folder: EvaluationFolder,
    show: Show,
) -> PredictionStore:
    """The store of a predictor, with all frames that can be predicted."""
    store = stack.enter_context(PredictionStore(*place_of(frames, predictor, folder)))
    predict(frames, predictor, store, show)
    return store
