"""One-stage against two-stage distillation, on equal budgets and from one recipe.

    labels only  steps without a teacher
    one stage    steps: features and answers at once, everything is trained
    two stages   first part of the steps: features alone; rest: answers alone, encoder frozen

Two-stage distillation is that of GKD (Lv et al., CVPR 2026). Every arm gets the same number of
steps and images; the last weights, or their average, are scored, never the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dgss_core.datasets.unlabelled import UNLABELLED
from dgss_core.errors import DgssError
from dgss_core.training.config import HardwareConfig, TrainConfig
from dgss_core.training.distill import DistillationConfig
from dgss_core.training.generation.journal import read_entries
from dgss_core.training.loop import train
from dgss_core.training.recipe import changed_keys, read_recipe, written
from dgss_core.training.record import Record
from dgss_core.training.state import SavedState

LABELS_ONLY, ONE_STAGE, TWO_STAGES = 'labels only', 'one stage', 'two stages'
MATCHES = ('features', 'correlation')
"""What a student's encoder can match, as weights of `DistillationConfig`."""


@dataclass(frozen=True)
class Stage:
    """One training of an arm, in the folder `folder`."""

    folder: Path
    config: TrainConfig

    def run(self, data: Path, hardware: HardwareConfig) -> None:
        """Train it, or what is left of it. Raises DgssError as `check` and `train` do."""
        self.check()
        if not self.is_finished():
            train(self.config, data, self.folder, hardware, resume=True)

    def check(self) -> None:
        """Raise DgssError if the folder was begun with another recipe.

        That holds even if a training would go on with it: other steps would spoil the budgets.
        """
        record = Record(self.folder, first=False)
        before = read_recipe(record.recipe) if record.recipe.is_file() else None
        if before is not None and (changed := changed_keys(before, written(self.config))):
            raise DgssError(
                f'{self.folder} was begun with another {", ".join(changed)}; repeat the ablation '
                'as it was begun, or choose another --output.'
            )

    def is_finished(self) -> bool:
        """Whether it has all its steps and scores."""
        record, splits = Record(self.folder, first=False), len(self.config.evaluation.splits)
        if not (record.state.is_file() and record.model.is_file()):
            return False
        done = SavedState.read(record.state).step == self.config.steps
        return done and splits <= len(record.scored_on(self.config.steps))

    def scores(self) -> dict[str, float | None]:
        """The mIoU of the last step by the title of its split, in order."""
        entries = read_entries(Record(self.folder, first=False).scores)
        return {e['on']: e['miou'] for e in entries if e['step'] == self.config.steps}


@dataclass(frozen=True)
class Arm:
    """One way to spend the budget: its trainings, in order; the last one is scored."""

    name: str
    match: str
    seed: int
    stages: tuple[Stage, ...]

    @property
    def title(self) -> str:
        return f'{self.name}, {self.match}' if self.match else self.name

    @property
    def images(self) -> int:
        """Images that the student sees in training."""
        return sum(stage.config.steps * stage.config.batch for stage in self.stages)

    def images_where(self, part: str) -> int:
        """Images that train the 'encoder' or the 'head', or that the 'teacher' sees."""
        return sum(
            stage.config.steps * stage.config.batch
            for stage in self.stages
            if part in _at_work(stage.config)
        )

    def labelled(self, lengths: Sequence[int], known: TrainConfig) -> int:
        """Images of labelled sources that train the head, as expected of the draws.

        `lengths`: frames of the sources of the recipe `known`.
        """
        by_source = {
            id(source): source.repeat * length
            for source, length in zip(known.sources, lengths, strict=True)
        }
        total = 0.0
        for config in (stage.config for stage in self.stages):
            if 'labels' in _at_work(config):
                weights = {id(s): by_source[id(s)] for s in config.sources}
                drawn = sum(weights[id(s)] for s in config.sources if has_labels(s.dataset))
                total += config.steps * config.batch * drawn / sum(weights.values())
        return round(total)


def arms(
    config: TrainConfig, output: Path, seed: int, first: float, matches: Sequence[str]
) -> list[Arm]:
    """The arms of one seed. Raises DgssError for a recipe that cannot be split in two stages.

    `first`: share of the steps of the first of two stages, above 0 and below 1.
    """
    given = config.distillation
    if given is None:
        raise DgssError(
            'This recipe has no distillation; give one with a teacher, such as those of '
            'config/train/distill-*.yaml.'
        )
    labelled = [source for source in config.sources if has_labels(source.dataset)]
    if not given.probabilities and not (given.labels and labelled):
        raise DgssError(
            'No source has labels and distillation.probabilities is 0, so no stage trains the '
            'head; add a source with labels, or give probabilities a weight.'
        )
    steps = round(first * config.steps)
    if not 0 < steps < config.steps:
        raise DgssError(
            f'A first stage of {first:g} of {config.steps} steps leaves one stage without any; '
            'give a share above 0 and below 1.'
        )
    config, folder = replace(config, seed=seed), output / f'seed-{seed}'
    whole = replace(config, evaluation=replace(config.evaluation, every=config.steps))
    found = []
    if labelled and given.labels:
        plain = replace(whole, distillation=None, sources=labelled)
        found.append(Arm(LABELS_ONLY, '', seed, (Stage(folder / 'labels', plain),)))
    for match in matches:
        matched = _matching(given, match)
        one = Stage(folder / f'one-{match}', replace(whole, distillation=matched))
        found.append(Arm(ONE_STAGE, match, seed, (one,)))
        two = two_stages(replace(config, distillation=matched), folder / f'two-{match}', steps)
        found.append(Arm(TWO_STAGES, match, seed, two))
    return found


def two_stages(config: TrainConfig, folder: Path, steps: int) -> tuple[Stage, Stage]:
    """A recipe of distillation split after `steps` of its steps.

    The first stage matches features on all sources and scores nothing. The second starts from it,
    freezes the encoder and trains the head on the answers of the teacher, the labels, or both.
    """
    given = config.distillation
    assert given is not None
    features = replace(
        config,
        steps=steps,
        distillation=replace(given, probabilities=0.0, labels=0.0),
        evaluation=replace(config.evaluation, splits=[]),
    )
    first = Stage(folder / 'first', features)
    rest = config.steps - steps
    answers = replace(given, features=0.0, correlation=0.0) if given.probabilities else None
    head = replace(
        config,
        steps=rest,
        start=Record(first.folder, first=False).model,
        frozen=[*config.frozen, 'encoder.*'],
        distillation=answers,
        evaluation=replace(config.evaluation, every=rest),
    )
    if answers is None:
        head = replace(head, sources=[s for s in head.sources if has_labels(s.dataset)])
    return first, Stage(folder / 'second', head)


def has_labels(dataset: str) -> bool:
    """Whether a source of a recipe has labels."""
    return dataset != UNLABELLED


def _matching(given: DistillationConfig, match: str) -> DistillationConfig:
    """`given` with one kind of match only; it weighs 1 if the recipe gives it no weight."""
    features = (given.features or 1.0) if match == 'features' else 0.0
    return replace(
        given,
        features=features,
        correlation=0.0 if features else given.correlation or 1.0,
    )


def _at_work(config: TrainConfig) -> set[str]:
    """What a training uses: encoder and head if it trains them, teacher, labels."""
    given = config.distillation
    used = {
        'encoder': 'encoder.*' not in config.frozen,
        'head': given is None or given.trains_head,
        'labels': given is None or given.labels > 0,
        'teacher': given is not None,
    }
    return {part for part, is_used in used.items() if is_used}
