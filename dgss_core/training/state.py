"""The state of a training in one file: weights, averages, optimiser, step.

Random numbers are functions of the seed and the step (`dgss_core.training.chance`), so this state
is enough to resume bit-identically.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
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
from dgss_core.documents import load_json
from dgss_core.errors import DgssError, one_line, without_remedy
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import write_tensors
from dgss_core.networks.compilation import as_written
from dgss_core.networks.tensor_files import read_metadata, read_tensors
from dgss_core.training.average import Average

SCHEMA = 'dgss-training/1'
LONGEST_STEP = 18
"""Digits."""
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
"""Gathers the whole state on the first process only, for ddp and fsdp alike."""


@dataclass(frozen=True)
class SavedState:
    """What a saved state says of itself: its step, and `classes` and `form` of `TrainingState`."""

    step: int
    classes: Mapping[str, Any]
    form: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> SavedState:
        """Read it without the tensors. Raises DgssError for what is no state of a training."""
        try:
            metadata = read_metadata(path)
        except DgssError as error:
            raise DgssError(
                f'{without_remedy(str(error))}, and --resume goes on from it; put a copy of it '
                'there, or train anew with another --output.'
            ) from error
        return cls.of(metadata, path)

    @classmethod
    def of(cls, metadata: Mapping[str, str], path: Path) -> SavedState:
        step = metadata.get('step', '')
        counted = step.isascii() and step.isdigit() and len(step) <= LONGEST_STEP
        if metadata.get('schema') != SCHEMA or not counted:
            raise DgssError(f'{path} is no state of a training; resume where one was begun.')
        parts = [
            load_json(metadata.get(key) or '{}', f'{key} of {path}') for key in ('classes', 'form')
        ]
        sound = all(isinstance(part, dict) for part in parts) and all(
            isinstance(parts[0].get(key, kind()), kind)
            for key, kind in (('classes', list), ('datasets', list), ('splits', dict))
        )
        if not sound:
            raise DgssError(f'{path} is a damaged state; choose another --output.')
        return cls(int(step), *parts)


@dataclass
class TrainingState:
    """The model, its optimiser and its averages after `step` optimiser steps.

    `classes`: see `described`; empty is not checked. `form`: see `Encoder.form`.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: Average | None
    teacher: Average | None = None
    step: int = 0
    classes: str = ''
    form: Mapping[str, Any] = field(default_factory=dict)

    def averages(self) -> dict[str, Average]:
        """The averages that are in use, by their name in the saved file."""
        both = {'average': self.average, 'teacher': self.teacher}
        return {name: average for name, average in both.items() if average is not None}

    @contextmanager
    def as_saved(self) -> Iterator[None]:
        """The model as it is scored and saved: its averages, in eval mode from here on."""
        averaged = nullcontext() if self.average is None else self.average.applied(self.model)
        self.model.eval()
        with averaged, as_written(self.model):
            yield

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
            write_tensors(tensors, path, {**metadata, 'form': json.dumps(dict(self.form))})

    def load(self, path: Path) -> None:
        """Restore what `save` wrote. Raises DgssError for a file of another training."""
        metadata, tensors = read_tensors(path)
        saved = SavedState.of(metadata, path)
        if saved.classes and self.classes:
            _compare(saved.classes, json.loads(self.classes), path)
        try:
            self._take(tensors)
        except (KeyError, RuntimeError, ValueError) as error:
            raise DgssError(
                f'{path} does not fit this training ({error}); go on with the config it was '
                'begun with, or choose another --output.'
            ) from error
        self.step = saved.step

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
        lay_out(self.optimiser)
        set_model_state_dict(self.model, _below('weights.', tensors), options=WHOLE)
        for name, average in self.averages().items():
            # Load through the model, because its weights may be sharded over the processes.
            averaged = _below('weights.', tensors) | _below(f'{name}.', tensors)
            with average.applied(self.model):
                set_model_state_dict(self.model, averaged, options=WHOLE)


def lay_out(optimiser: torch.optim.Optimizer) -> None:
    """Give every moment the strides of its parameter, as a fused optimiser needs them.

    A file keeps tensors contiguous; weights in channels-last layout are not.
    """
    for parameter, values in optimiser.state.items():
        for key, x in values.items():
            moment = isinstance(x, Tensor) and x.shape == parameter.shape
            if moment and x.stride() != parameter.stride():
                values[key] = torch.empty_like(parameter, dtype=x.dtype).copy_(x)


def gathered(x: Tensor) -> Tensor:
    """The whole tensor; `x` may be sharded over the processes."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}


def described(
    label_set: LabelSet, sources: Sequence[Dataset], splits: Mapping[str, Dataset]
) -> str:
    """What the ids of a training mean, as JSON: its classes, and those of each dataset with a
    digest of the maps from its stored ids. `splits`: what is scored, by title."""
    return json.dumps(
        {
            'classes': label_set.names,
            'datasets': [_meaning(dataset) for dataset in sources],
            'splits': {title: _meaning(dataset) for title, dataset in splits.items()},
        }
    )


def _meaning(dataset: Dataset) -> dict[str, Any]:
    pairs = getattr(getattr(dataset, 'dataset', dataset), 'pairs', ())
    maps = {pair.labels.map.key for pair in pairs if pair.labels}
    digest = hashlib.sha256(b''.join(sorted(maps))).hexdigest()[:16]
    return {'classes': dataset.label_set.names, 'maps': digest}


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raise DgssError if the ids of a training mean something else than before.

    Splits may come and go; earlier versions listed them among the datasets.
    """
    old, new = before.get('splits', {}), now['splits']
    same = (
        before.get('classes') == now['classes']
        and before.get('datasets', [])[: len(now['datasets'])] == now['datasets']
        and all(old[title] == new[title] for title in old.keys() & new.keys())
    )
    if same:
        return
    difference = ''
    if before.get('classes') != now['classes']:
        listed = ', '.join(map(str, before.get('classes', ())))
        order = f'in this order: {listed}; now they are {", ".join(now["classes"])}'
        difference = f' ({one_line(order)})'
    raise DgssError(
        f'{path} was begun with other labels{difference}; restore the label set and the data set '
        'files it was begun with, or choose another --output.'
    )
