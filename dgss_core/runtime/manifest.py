"""The manifest of a bundle: everything a runtime needs besides the network itself."""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dgss_core.documents import fault_of, load_json
from dgss_core.errors import DgssError, plain
from dgss_core.labels import LabelSet

SCHEMA = 1
NETWORK, MANIFEST = 'model.onnx', 'manifest.json'
LARGEST_SIDE = 8192
PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')
DESCRIPTORS = ('image', 'features', 'confidence', 'classes')
"""Descriptors of a frame, see `runtime.monitoring.domain_shift`."""
LONGEST_NAME, LONGEST_TEXT = 200, 10_000
"""Characters of a name, and of a text such as the licence."""


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
            mean, std = ({**data[key]} for key in ('mean', 'std'))
            right = type(data['frames']) is int and data['frames'] > 0
            for values in (*mean.values(), *std.values()):
                right &= isinstance(values, list) and all(map(_is_number, values))
            right &= all(value >= 0 for values in std.values() for value in values)
            if not right:
                raise ValueError('a value is not a finite number, or a deviation is negative')
        except (KeyError, TypeError, ValueError) as error:
            raise DgssError(
                f'{origin} holds no source statistics ({fault_of(error)}); export the bundle '
                'again.'
            ) from error
        sizes = [{name: len(values) for name, values in part.items()} for part in (mean, std)]
        if sizes[0] != sizes[1] or not set(DESCRIPTORS) >= set(mean) or not mean:
            raise DgssError(
                f'{origin} has source statistics with means of {_shown(sizes[0])} and standard '
                f'deviations of {_shown(sizes[1])} values; export the bundle again.'
            )
        return cls(data['frames'], _as_floats(mean), _as_floats(std))


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    `height`, `width`: network size in pixels; the segmenter resizes images to it.
    `mean`, `std`: the RGB normalisation (for values 0 to 1) inside the network, for information.
    `metrics`: figures by the name of the split they were measured on. `precision`: of the
    network's layers, one of `PRECISIONS`. `files`: SHA-256 of every other file, by its path in the
    bundle. `source`: statistics of the training frames, for the domain-shift monitor. `origin`:
    facts about where the weights come from and how they were tested, by their names.
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
    origin: dict[str, str] = field(default_factory=dict)
    network: str = NETWORK
    schema: int = SCHEMA

    def to_json(self) -> str:
        data = asdict(self) | {
            'label_set': self.label_set.to_dict(),
            'source': self.source and self.source.to_dict(),
        }
        if not self.origin:
            del data['origin']
        return json.dumps({'schema': data.pop('schema'), **data}, indent=2) + '\n'

    @classmethod
    def from_json(cls, text: str | bytes, origin: str) -> Manifest:
        """Parse and check a manifest. Raises DgssError with `origin` and the first problem."""
        data = load_json(text, origin)
        if not isinstance(data, dict):
            raise DgssError(
                f'{origin} holds {_shown(data)} in place of the fields of a manifest; copy or '
                'export the bundle again.'
            )
        found = data.get('schema')
        if type(found) is not int or found != SCHEMA:
            has = f'schema {_shown(found)}' if 'schema' in data else 'no schema'
            raise DgssError(
                f'{origin} has {has} and this version reads schema {SCHEMA}; '
                'export the bundle again with this version, or install the one that wrote it.'
            )
        missing = REQUIRED - set(data)
        unknown = set(data) - set(cls.__dataclass_fields__)
        if missing or unknown:
            what = f'lacks {sorted(missing)}' if missing else f'has unknown {_shown([*unknown])}'
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
        'name': _is_name,
        'height': _is_size,
        'width': _is_size,
        'mean': _are_channels,
        'std': lambda value: _are_channels(value) and min(value) > 0,
        'label_set': _is_label_set,
        'sha256': _is_digest,
        'producer': _is_text,
        'licence': _is_text,
        'training_data': lambda value: isinstance(value, list) and all(map(_is_text, value)),
        'metrics': _are_figures,
        'precision': lambda value: isinstance(value, str) and value in PRECISIONS,
        'origin': _are_facts,
        'files': lambda value: _are_files(value, data),
        # A plain file name: a manifest must not point outside its own folder.
        'network': lambda value: _is_inside(value) and value == Path(value).name,
    }
    for key, is_right in checks.items():
        if key in data and not is_right(data[key]):
            place, value = _fault(key, data[key], is_right)
            raise DgssError(
                f'{origin} has an unusable value for {place}: {_shown(value)}; '
                'export the bundle again.'
            )


def _fault(place: str, value: Any, is_right: Callable[[Any], bool]) -> tuple[str, Any]:
    """The innermost entry of `value` that is wrong by itself, and its place."""
    if isinstance(value, list) and is_right([]):
        for entry in value:
            if not is_right([entry]):
                return _fault(place, entry, lambda inner: is_right([inner]))
    elif isinstance(value, dict) and is_right({}):
        for name, entry in value.items():
            if not is_right({name: entry}):
                found = _fault(f'{place}, {plain(name)}', entry, _under(name, is_right))
                return (place, {name: entry}) if found[1] is entry else found
    return place, value


def _under(name: str, is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda entry: is_right({name: entry})


def _shown(value: Any) -> str:
    """A short form of any value, on one line."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 120
    return short.repr(value)


def _as_floats(values: Mapping[str, list[float]]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(map(float, each)) for name, each in values.items()}


def _is_name(value: Any) -> bool:
    """Whether `value` is a name that a log and a terminal show as it is."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def _is_text(value: Any) -> bool:
    """Whether `value` is a text, possibly empty and of several lines."""
    return (
        isinstance(value, str)
        and len(value) <= LONGEST_TEXT
        and all(line.isprintable() for line in re.split('[\n\t]', value))
    )


def _is_label_set(value: Any) -> bool:
    """Whether the names of a label set can be shown; `LabelSet.from_dict` checks the rest."""
    if not isinstance(value, dict) or not isinstance(value.get('labels', []), list):
        return False
    merges, subsets = value.get('merges') or {}, value.get('subsets', {})
    return (
        _is_name(value.get('name', '-'))
        and all(map(_is_label, value.get('labels', [])))
        and isinstance(merges, dict)
        and all(isinstance(pairs, dict) for pairs in merges.values())
        and all(
            map(_is_name, [*merges, *(n for pairs in merges.values() for n in pairs.values())])
        )
        and all(_is_name(name) for pairs in merges.values() for name in pairs)
        and isinstance(subsets, dict)
        and all(isinstance(members, list) for members in subsets.values())
        and all(map(_is_name, [*subsets, *(n for members in subsets.values() for n in members)]))
    )


def _is_label(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and type(value.get('id')) is int
        and _is_name(value.get('name'))
        and isinstance(value.get('color'), list)
        and all(type(channel) is int for channel in value['color'])
    )


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= LARGEST_SIDE


def _are_channels(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e30 and math.isfinite(value)


def _are_figures(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_name(name) and _is_number(figure) for name, figure in value.items()
    )


def _are_facts(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_name(name) and _is_text(fact) for name, fact in value.items()
    )


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch('[0-9a-f]{64}', value) is not None


def _is_inside(value: Any) -> bool:
    """Whether `value` is a relative path inside the bundle, in its shortest form."""
    if not _is_name(value) or value == '.' or '\\' in value:
        return False
    path = PurePosixPath(value)
    return not path.is_absolute() and '..' not in path.parts and str(path) == value


def _are_files(value: Any, data: Mapping[str, Any]) -> bool:
    """Whether `value` holds the checksum of each path once: that of the network is `sha256`."""
    return isinstance(value, dict) and all(
        _is_inside(path) and _is_digest(digest) and path not in (data.get('network'), MANIFEST)
        for path, digest in value.items()
    )
