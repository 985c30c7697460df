"""The state of a training in one file: weights, averages, optimiser, step.

Random numbers are functions of the seed and the step (`dgss_core.training.chance`), so this state
is enough to resume bit-identically.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor

from dgss_core.datasets import Dataset
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import write_tensors
from dgss_core.networks.tensor_files import read_tensors
from dgss_core.training.average import Average

SCHEMA = 'dgss-training/1'
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
"""Gathers the whole state on the first process only, for ddp and fsdp alike."""


@dataclass
class TrainingState:
    """The model, its optimiser and its averages after `step` optimiser steps.

    `classes`: see `described`; empty is not checked.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: Average | None
    teacher: Average | None = None
    step: int = 0
    classes: str = ''

    def averages(self) -> dict[str, Average]:
        """The averages that are in use, by their name in the saved file."""
        both = {'average': self.average, 'teacher': self.teacher}
        return {name: average for name, average in both.items() if average is not None}

    def save(self, path: Path, first: bool = True) -> None:
        """Write the state to `path` atomically.

        Every process must call it; only the `first` writes. Raises DgssError if writing fails.
        """
        tensors: dict[str, Any] = {
            f'weights.{k}': x for k, x in get_model_state_dict(self.model, options=WHOLE).items()
        }
        moments: Any = get_optimizer_state_dict(self.model, self.optimiser, options=WHOLE)
        for name, values in moments.get('state', {}).items():
            tensors |= {f'optimiser.{name}.{key}': x for key, x in values.items()}
        for name, average in self.averages().items():
            tensors |= {f'{name}.{k}': gathered(x) for k, x in average.state.items()}
        if first:
            metadata = {'schema': SCHEMA, 'step': str(self.step), 'classes': self.classes}
            write_tensors(tensors, path, metadata)

    def load(self, path: Path) -> None:
        """Restore what `save` wrote. Raises DgssError for a file of another training."""
        step, classes, tensors = _read(path)
        if classes and self.classes and classes != self.classes:
            raise DgssError(
                f'{path} was begun with other labels{_difference(classes, self.classes)}; restore '
                'the label set and the data set files it was begun with, or choose another '
                '--output.'
            )
        try:
            self._take(tensors)
        except (KeyError, RuntimeError, ValueError) as error:
            raise DgssError(
                f'{path} does not fit this training ({error}); go on with the config it was '
                'begun with, or choose another --output.'
            ) from error
        self.step = step

    def rates(self) -> dict[str, float]:
        """The learning rates of the groups, for a log."""
        groups = self.optimiser.param_groups
        return {f'learning rate/{g["factor"]:g}': g['lr'] for g in groups}

    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        everywhere = StateDictOptions(full_state_dict=True)
        moments: Any = get_optimizer_state_dict(self.model, self.optimiser, options=everywhere)
        for name, values in moments['state'].items():
            for key in values:
                values[key] = tensors.get(f'optimiser.{name}.{key}', values[key])
        set_optimizer_state_dict(self.model, self.optimiser, moments, options=WHOLE)
        set_model_state_dict(self.model, _below('weights.', tensors), options=WHOLE)
        for name, average in self.averages().items():
            # Load through the model, because its weights may be sharded over the processes.
            averaged = _below('weights.', tensors) | _below(f'{name}.', tensors)
            with average.applied(self.model):
                set_model_state_dict(self.model, averaged, options=WHOLE)


def gathered(x: Tensor) -> Tensor:
    """The whole tensor; `x` may be sharded over the processes."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}


def described(label_set: LabelSet, datasets: Sequence[Dataset]) -> str:
    """What the ids of a training mean, as JSON: its classes, and those of each dataset with a
    digest of the maps from its stored ids."""
    entries = [
        {'classes': dataset.label_set.names, 'maps': _map_digest(dataset)} for dataset in datasets
    ]
    return json.dumps({'classes': label_set.names, 'datasets': entries})


def _map_digest(dataset: Dataset) -> str:
    pairs = getattr(getattr(dataset, 'dataset', dataset), 'pairs', ())
    tables = {pair.labels.map.table.tobytes() for pair in pairs if pair.labels}
    return hashlib.sha256(b''.join(sorted(tables))).hexdigest()[:16]


def _difference(before: str, now: str) -> str:
    old, new = (', '.join(json.loads(text)['classes']) for text in (before, now))
    return '' if old == new else f' (in this order: {old}; now they are {new})'


def _read(path: Path) -> tuple[int, str, dict[str, Tensor]]:
    metadata, tensors = read_tensors(path)
    step = metadata.get('step', '')
    if metadata.get('schema') != SCHEMA or not (step.isascii() and step.isdigit()):
        raise DgssError(f'{path} is no state of a training; resume where one was begun.')
    return int(step), metadata.get('classes', ''), tensors
