"""What must hold before the first step of a training, and what its failures mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from dgss_core.datasets import Dataset, Synthetic
from dgss_core.datasets.contents import count_ids, has_own_ids, label_problem, spread
from dgss_core.datasets.unlabelled import Unlabelled
from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.networks.device import is_out_of_memory
from dgss_core.training.config import HardwareConfig, TrainConfig
from dgss_core.training.evaluation import ScoredSplit

ENOUGH = 64
"""Frames to read of a source whose labels look sound; a source that looks wrong is read whole."""


def check_sources(config: TrainConfig, datasets: Sequence[Dataset]) -> None:
    """Raise DgssError if the labels of a source cannot be learnt from.

    Synthetic frames need no check. A source without labels needs a teacher.
    """
    label_set = LabelSet.load(config.label_set)
    for dataset in datasets:
        if not isinstance(dataset, Unlabelled | Synthetic):
            _check_labels(dataset, has_own_ids(dataset), label_set)
    has_teacher = config.self_training is not None or config.distillation is not None
    if not has_teacher and all(isinstance(dataset, Unlabelled) for dataset in datasets):
        raise DgssError(
            'No source of this training has labels; add one that has, or distillation, which '
            'learns from a teacher.'
        )


def _check_labels(dataset: Dataset, own_ids: bool, label_set: LabelSet) -> None:
    counts, table = np.zeros(256, np.int64), np.arange(256)
    if len(dataset.label_set) >= len(label_set):
        table = dataset.label_set.merge_to(label_set)
    problem = learnt = None
    for seen, index in enumerate(spread(len(dataset)), 1):
        counts += count_ids(dataset.labels(index))
        # Every part of the order is spread over the dataset: what is missing here is looked for.
        if seen % ENOUGH == 0 or seen == len(dataset):
            problem = label_problem(dataset.title, dataset.label_set, counts, own_ids)
            learnt = counts[table != IGNORE].any()
            if learnt and problem is None:
                return
    if problem is None and not learnt:
        problem = (
            f'{dataset.title} has no pixel whose class the training knows; choose a label set '
            'that its classes merge into.'
        )
    if problem is not None:
        raise DgssError(problem)


def check_splits(splits: Sequence[ScoredSplit]) -> None:
    """Read the first frame of every scored split.

    Raises DgssError if a frame cannot be read, or if no frame of a split has a labelled pixel.
    """
    for split in splits:
        next(split.frames(), None)
        if not any((split.dataset.labels(i) != IGNORE).any() for i in spread(len(split.dataset))):
            raise DgssError(
                f'{split.title} has no labelled pixel, so it cannot be scored; check its label '
                'files, or leave it out of evaluation.splits.'
            )


def told_of_warmup(config: TrainConfig) -> str:
    """A line about a warm-up that does not end before the last step; '' if it does."""
    schedule, steps = config.optimiser.schedule, config.steps
    if schedule.warmup < steps:
        return ''
    share = schedule.factor(steps - 1, steps)
    return (
        f'The warm-up of {schedule.warmup} steps does not end in this training of {steps}: the '
        f'learning rate comes to {share:.1%} of optimiser.rate; lower optimiser.schedule.warmup.'
    )


@contextmanager
def explained(config: TrainConfig, hardware: HardwareConfig, processes: int = 1) -> Iterator[None]:
    """Turn what torch raises for a batch that cannot be trained into a DgssError.

    The batch is shared by `processes`.
    """
    try:
        yield
    except (MemoryError, RuntimeError, ValueError) as error:
        sentence = _explanation(error, config, hardware, processes)
        if sentence is None:
            raise
        raise DgssError(sentence) from error


def _explanation(
    error: Exception, config: TrainConfig, hardware: HardwareConfig, processes: int
) -> str | None:
    height, width = config.augmentation.crop
    at_once = hardware.at_once or config.batch // processes
    crops = f'{at_once} {"crop" if at_once == 1 else "crops"} of {width}x{height} at once'
    remedy = 'batch and hardware.at_once at least 2'
    if processes > 1:
        crops += f' in each of {processes} processes'
        remedy = f'hardware.at_once at least 2 and batch at least {2 * processes}'
    if 'Expected more than 1 value per channel' in str(error):
        return (
            f'A batch norm of {config.system} cannot be trained on {crops}: it gets one value '
            f'per channel; give {remedy}. A larger augmentation.crop helps only a network '
            'without a mean over the whole crop.'
        )
    if not is_out_of_memory(error):
        return None
    return (
        f'The memory does not hold {crops}; lower hardware.at_once, set '
        'hardware.checkpointing to true, or lower augmentation.crop or batch.'
    )
