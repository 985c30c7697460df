"""Our checkpoints: a safetensors file with a description of its model and its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from traceback import walk_tb
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from dgss_core.documents import load_json
from dgss_core.errors import DgssError, cause, one_line, shown
from dgss_core.files import replacing
from dgss_core.labels import LabelSet
from dgss_core.networks.importers.keys import refuse_differences
from dgss_core.networks.systems import SegmentationModel, build_system
from dgss_core.networks.tensor_files import read_metadata, read_tensors
from dgss_core.networks.undrawn import Undrawn
from dgss_core.networks.weight_files import CHECKPOINT as SCHEMA
from dgss_core.paths import is_file, missing

UNFIT = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError),
    *(RuntimeError, TypeError, ValueError),
)
"""What a constructor raises for options that do not fit it."""
LARGEST_SIZE = 1 << 16
"""Of channels, layers, heads, pixels."""


@dataclass(frozen=True)
class About:
    """Description of a checkpoint, without its label set.

    `sizes` are its options of `build_system`, as plain JSON values. `source` and `source_sha256`
    identify the file it was converted from. `licence` is that of the weights. `training_data`:
    names of the datasets of a training here. `origin`: facts about where the weights come from,
    by their names; a bundle repeats them.
    """

    system: str
    sizes: Mapping[str, Any] = field(default_factory=dict)
    source: str = ''
    source_sha256: str = ''
    licence: str = ''
    training_data: tuple[str, ...] = ()
    origin: Mapping[str, str] = field(default_factory=dict)


def save_checkpoint(
    model: SegmentationModel,
    path: Path,
    about: About,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write `model` to `path`, completely or not at all.

    `weights` replaces the model's own weights; a sharded model must gather them first. Raises
    DgssError if the file cannot be written.
    """
    metadata = {
        'schema': SCHEMA,
        'system': about.system,
        'sizes': json.dumps(dict(about.sizes)),
        'label_set': json.dumps(model.label_set.to_dict()),
        'source': about.source,
        'source_sha256': about.source_sha256,
        'licence': about.licence,
        'training_data': json.dumps(about.training_data),
        'origin': json.dumps(dict(about.origin)),
    }
    write_tensors(model.state_dict() if weights is None else weights, path, metadata)


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file; an existing file is replaced only when the new one is complete.

    Raises DgssError if the file cannot be written.
    """
    weights = {key: value.detach().contiguous() for key, value in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as staging:
            save_file(weights, staging, metadata)
    except (OSError, SafetensorError) as error:
        raise DgssError(
            f'{path} could not be written ({cause(error)}); choose a folder with enough room that '
            'you may write to.'
        ) from error


def read_about(path: Path) -> tuple[About, LabelSet]:
    """Description and label set of a checkpoint. Raises DgssError as `load_checkpoint` does."""
    if not is_file(path):
        raise missing('checkpoint', path, 'give the path of a .safetensors file')
    metadata = read_metadata(path)
    if metadata.get('schema') != SCHEMA:
        raise DgssError(
            f'{path} is no checkpoint of this package (schema {shown(metadata.get("schema"))}, '
            f'not {SCHEMA!r}); convert published weights with dgss convert.'
        )
    try:
        about = About(
            metadata['system'],
            _mapping(metadata['sizes'], f'sizes of {path}'),
            metadata['source'],
            metadata['source_sha256'],
            metadata['licence'],
            _texts(metadata.get('training_data', '[]'), f'training_data of {path}'),
            _facts(metadata.get('origin', '{}'), f'origin of {path}'),
        )
        labels = _mapping(metadata['label_set'], f'label_set of {path}')
    except KeyError as error:
        raise DgssError(
            f'{path} has a damaged description ({error!r}); write it again.'
        ) from error
    return about, LabelSet.from_dict(labels, str(path))


def _mapping(text: str, origin: str) -> dict[str, Any]:
    value = load_json(text, origin)
    if not isinstance(value, dict):
        raise DgssError(f'{origin} is no mapping; write the checkpoint again.')
    return value


def _facts(text: str, origin: str) -> dict[str, str]:
    facts = _mapping(text, origin)
    if not all(isinstance(fact, str) for fact in facts.values()):
        raise DgssError(f'{origin} holds more than texts; write the checkpoint again.')
    return facts


def _texts(text: str, origin: str) -> tuple[str, ...]:
    value = load_json(text, origin)
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise DgssError(f'{origin} is no list of names; write the checkpoint again.')
    return tuple(value)


def _check_numbers(sizes: Any) -> None:
    """Raise ValueError for a number that no size of a network has, as in a damaged description."""
    waiting = [sizes]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, int) and abs(value) > LARGEST_SIZE:
            raise ValueError(f'a size of {shown(value)}')


def refuse_import_errors(error: BaseException) -> None:
    """Raise an error again that a library raised when it was imported: no fault of options."""
    if any(frame.f_code.co_name == '<module>' for frame, _ in walk_tb(error.__traceback__)):
        raise error


def load_checkpoint(path: str | Path) -> SegmentationModel:
    """The model of a checkpoint, in eval mode.

    Raises DgssError if the file is missing, damaged, not a checkpoint, or does not fit its own
    description.
    """
    path = Path(path)
    about, label_set = read_about(path)
    if 'weights' in about.sizes or 'pretrained' in about.sizes:
        raise DgssError(f'{path} names other weights than its own; write it again.')
    weights = read_tensors(path)[1]
    try:
        _check_numbers(about.sizes)
        with Undrawn():
            with torch.device('meta'):  # Takes no memory for what the file turns out not to hold.
                planned = build_system(about.system, label_set=label_set, **about.sizes)
            refuse_differences(planned, weights, str(path))
            model = build_system(about.system, label_set=label_set, **about.sizes)
    except UNFIT as error:
        refuse_import_errors(error)
        raise DgssError(
            f'{path} was written with options this version does not know ({one_line(error)}); '
            'convert the published file again.'
        ) from error
    _check_values(model, weights, path)
    model.load_state_dict(weights)
    return model.eval()


def _check_values(model: SegmentationModel, weights: Mapping[str, Tensor], path: Path) -> None:
    """Raise DgssError for weights that are no numbers, or whole ones in the place of others."""
    for name, own in model.state_dict().items():
        value = weights[name]
        if own.is_floating_point() and not value.is_floating_point():
            what = f'is {str(value.dtype).removeprefix("torch.")}'
        elif not value.isfinite().all():
            what = 'is not finite everywhere'
        else:
            continue
        raise DgssError(
            f'{path} is no usable checkpoint: {name} {what}; train again from a state before that.'
        )
