"""How `dgss evaluate` runs: source by source in this process, or by a fleet of workers."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from dgss_core.commands.evaluate_job import Job, Shard, Source, refuse_shared_names
from dgss_core.commands.evaluate_models import Facts
from dgss_core.commands.progress import say, with_progress
from dgss_core.errors import DgssError
from dgss_core.evaluation.fleet.on_ray import LOCAL, Cluster, on_ray
from dgss_core.evaluation.fleet.processes import in_processes
from dgss_core.evaluation.fleet.worker import Failed, Outcome
from dgss_core.evaluation.frames import FrameSet, Problem, Sets
from dgss_core.evaluation.results import Suite
from dgss_core.evaluation.run import Evaluation, Part, merged, merged_suites, run, run_corrupted


@dataclass(frozen=True)
class Scored:
    """What a run has found. `sets`: to read its frames again. `models`: what predicted.

    `suites`: of each of the models, under corruptions.
    """

    done: Evaluation
    sets: Sets
    models: list[Facts]
    suites: list[Suite]


GPU_PART = 1e-4
"""The least part of a GPU that Ray gives to a worker."""


@dataclass(frozen=True)
class Fleet:
    """`workers`: processes, 0 for as many as there is room. `address`: of a cluster of Ray.

    `gpus`: of each worker, on Ray. Raises DgssError for a number that Ray has not, and if they
    do not go together.
    """

    workers: int
    address: str | None
    gpus: float

    def __post_init__(self) -> None:
        parts = self.gpus if self.gpus >= 1 else self.gpus / GPU_PART
        if not (math.isfinite(parts) and parts >= 0 and math.isclose(parts, round(parts))):
            raise DgssError(
                f'--gpus is {self.gpus}; give a whole number, or a part of one GPU such as 0.5.'
            )
        if self.gpus and self.address is None:
            raise DgssError('--gpus is for workers on Ray; give its --address too.')

    @property
    def is_asked(self) -> bool:
        return bool(self.workers) or self.address is not None

    def threads(self, asked: int) -> int:
        """Threads of each worker: those `asked` for, else an equal share of this machine."""
        if asked:
            return asked
        here = self.workers if self.address in (None, LOCAL) else 0
        return max(1, (os.cpu_count() or 1) // here) if here else 1


def run_here(job: Job, sets: Sequence[FrameSet]) -> Scored:
    """Evaluate one set after the other. Raises DgssError at the first mistake."""
    if len(sets) > 1:
        refuse_shared_names(([key.name for key in one.keys] for one in sets), job.by_names)
    with ExitStack() as stack:
        models = job.models(stack, say)
        predictors = [model.predictor for model in models]
        done = run(
            sets,
            predictors[0],
            job.folder,
            job.label_set,
            job.settings,
            statistics=models[0].statistics,
            against=predictors[1] if len(predictors) > 1 else None,
            ood=job.ood,
            show=_show,
        )
        found = [
            run_corrupted(
                one,
                predictors,
                job.label_set,
                job.folder,
                job.settings,
                job.corruptions,
                _show,
                job.ood,
            )
            for one in (sets if job.corruptions else ())
        ]
    return Scored(done, sets.__getitem__, [model.facts for model in models], merged_suites(found))


def run_fleet(job: Job, sources: Sequence[Source], fleet: Fleet) -> Scored:
    """Evaluate every source in a process of the fleet, and merge what they found.

    A source that fails becomes a problem of the results. Raises DgssError if all of them fail, and
    if not all workers run the same.
    """
    fleet = replace(fleet, workers=min(fleet.workers, len(sources)))
    threads = fleet.threads(job.predicting.threads)
    job = replace(job, predicting=replace(job.predicting, threads=threads))
    items = [*enumerate(sources)]
    outcomes: Iterator[tuple[int, Outcome[Shard]]]
    if fleet.address is None:
        outcomes = in_processes(job, items, fleet.workers, say)
    else:
        cluster = Cluster(fleet.address, fleet.workers, threads, fleet.gpus)
        outcomes = on_ray(job, items, cluster, say)
    shards, failed = dict[int, Shard](), dict[int, Part]()
    said = set[str]()
    with closing(with_progress(outcomes, 'Evaluating', len(items))) as shown:
        for number, outcome in shown:
            if isinstance(outcome, Failed):
                print(outcome.trace, end='', file=sys.stderr)
                failed[number] = _failed(sources[number], outcome)
                continue
            shards[number] = outcome.result
            for line in set(outcome.result.said) - said:
                say(line)
                said.add(line)
    parts = {number: shard.part for number, shard in shards.items()} | failed
    refuse_shared_names((part.names for part in parts.values()), job.by_names)
    done = merged([parts[number] for number, _ in items], job.label_set, job.settings, job.ood)
    models = _same([shard.models for shard in shards.values()])
    suites = [shards[number].suites for number in sorted(shards)] if job.corruptions else []
    reopened = lru_cache(1)(lambda number: job.reading.frames(sources[number]))
    return Scored(done, reopened, models, merged_suites(suites))


def _failed(source: Source, outcome: Failed) -> Part:
    about = {'title': str(source), 'kind': 'dataset' if isinstance(source, str) else 'bag'}
    problem = Problem(f'A source was not evaluated. {outcome.why}')
    problem.count, problem.frames = 1, [str(source)]
    return Part([], about | {'frames': None, 'predicted': 0, 'labelled': 0}, [problem])


def _same(found: Sequence[list[Facts]]) -> list[Facts]:
    """The models of all workers, if they are the same: counts of others must not be added."""
    named = {
        ' against '.join(f'{one.about["identity"]} on {one.about["backend"]}' for one in models)
        for models in found
    }
    if len(named) > 1:
        raise DgssError(
            f'The workers ran different models ({"; ".join(sorted(named))}); name one --backend, '
            'and install the same on every machine. What was predicted by it is used again.'
        )
    return found[0]


def _show(items: Iterable[Any], title: str, count: int) -> Iterable[Any]:
    with closing(with_progress(items, title, count)) as shown:
        yield from shown
