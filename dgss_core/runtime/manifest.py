"""The manifest of a bundle: everything a runtime needs besides the network itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet

SCHEMA = 1
NETWORK = 'model.onnx'
LARGEST_SIDE = 8192
PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')
DESCRIPTORS = ('image', 'features', 'confidence', 'classes')
"""Descriptors of a frame, see `runtime.monitoring.domain_shift`."""


@dataclass(frozen=True)
class SourceStatistics:
    """Mean and standard deviation of every descriptor value over the source frames.

    `frames`: number of frames. `mean`, `std`: by the name of the descriptor.
    """

    frames: int
    mean: dict[str, tuple[float, ...]]
    std: dict[str, tuple[float, ...]]

    def to_dict(self) -> dict[str, Any]:
        """The form in a manifest, ready for JSON."""
        return {
            'frames': self.frames,
            'mean': {name: list(values) for name, values in self.mean.items()},
            'std': {name: list(values) for name, values in self.std.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], origin: str = 'source') -> SourceStatistics:
        """Build from the manifest form. Raises DgssError that names `origin` and the problem."""
        try:
            mean, std = (
                {str(name): tuple(map(float, values)) for name, values in data[key].items()}
                for key in ('mean', 'std')
            )
            frames = int(data['frames'])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DgssError(
                f'{origin} holds no source statistics ({error!r}); export the bundle again.'
            ) from error
        sizes = [{name: len(values) for name, values in part.items()} for part in (mean, std)]
        if sizes[0] != sizes[1] or not set(DESCRIPTORS) >= set(mean) or not mean:
            raise DgssError(
                f'{origin} has source statistics with means of {sizes[0]} and standard '
                f'deviations of {sizes[1]} values; export the bundle again.'
            )
        return cls(frames, mean, std)


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    `height`, `width`: network size in pixels; the segmenter resizes images to it.
    `mean`, `std`: the RGB normalisation (for values 0 to 1) inside the network, for information.
    `metrics`: figures by the name of the split they were measured on. `precision`: of the
    network's layers, one of `PRECISIONS`. `files`: SHA-256 of every other file, by its path in the
    bundle. `source`: statistics of the training frames, for the domain-shift monitor.
    """

    name: str
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    label_set: LabelSet
    sha256: str
    producer: str
    licence: str
    training_data: tuple[str, ...]
    metrics: dict[str, float] = field(default_factory=dict)
    precision: str = 'fp32'
    files: dict[str, str] = field(default_factory=dict)
    source: SourceStatistics | None = None
    network: str = NETWORK
    schema: int = SCHEMA

    def to_json(self) -> str:
        data = asdict(self) | {
            'label_set': self.label_set.to_dict(),
            'source': self.source and self.source.to_dict(),
        }
        return json.dumps({'schema': data.pop('schema'), **data}, indent=2) + '\n'

    @classmethod
    def from_json(cls, text: str, origin: str) -> Manifest:
        """Parse and check a manifest. Raises DgssError with `origin` and the first problem."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise DgssError(f'{origin} is not JSON ({error}); export the bundle again.') from error
        if not isinstance(data, dict) or data.get('schema') != SCHEMA:
            found = data.get('schema') if isinstance(data, dict) else None
            raise DgssError(
                f'{origin} has schema {found!r} and this version reads schema {SCHEMA}; '
                'export the bundle again with this version, or install the one that wrote it.'
            )
        missing = REQUIRED - set(data)
        unknown = set(data) - set(cls.__dataclass_fields__)
        if missing or unknown:
            what = f'lacks {sorted(missing)}' if missing else f'has unknown {sorted(unknown)}'
            raise DgssError(f'{origin} {what}; export the bundle again.')
        _check_fields(data, origin)
        label_set = LabelSet.from_dict(data['label_set'], f'label_set in {origin}')
        tuples = {key: tuple(data[key]) for key in ('mean', 'std', 'training_data')}
        source = data.get('source')
        if source is not None:
            source = SourceStatistics.from_dict(source, f'source in {origin}')
        return cls(**data | tuples | {'label_set': label_set, 'source': source})


REQUIRED = {
    name
    for name, field in Manifest.__dataclass_fields__.items()
    if field.default is MISSING and field.default_factory is MISSING
} | {'network'}


def _check_fields(data: Mapping[str, Any], origin: str) -> None:
    """Raise DgssError for the first key whose value has a wrong type or range."""
    checks = {
        'name': lambda value: isinstance(value, str) and value != '',
        'height': _is_size,
        'width': _is_size,
        'mean': _are_channels,
        'std': _are_channels,
        'sha256': _is_digest,
        'producer': lambda value: isinstance(value, str),
        'licence': lambda value: isinstance(value, str),
        'training_data': _are_texts,
        'metrics': _are_figures,
        'precision': lambda value: value in PRECISIONS,
        'files': _are_files,
        # A plain file name: a manifest must not point outside its own folder.
        'network': lambda value: _is_inside(value) and value == Path(value).name,
    }
    for key, is_right in checks.items():
        if key in data and not is_right(data[key]):
            raise DgssError(
                f'{origin} has an unusable value for {key}: {data[key]!r}; '
                'export the bundle again.'
            )


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= LARGEST_SIDE


def _are_channels(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _are_figures(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch('[0-9a-f]{64}', value) is not None


def _is_inside(value: Any) -> bool:
    """Whether `value` is a relative path that stays inside the bundle."""
    if not isinstance(value, str) or value in ('', '.') or '\\' in value:
        return False
    path = PurePosixPath(value)
    return not path.is_absolute() and '..' not in path.parts


def _are_files(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_inside(path) and _is_digest(digest) for path, digest in value.items()
    )
