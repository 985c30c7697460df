"""`dgss convert`: a published checkpoint becomes one of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dgss_core.errors import DgssError, unknown
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import About, read_about, save_checkpoint
from dgss_core.networks.encoders.weights import read_weights
from dgss_core.networks.systems import SYSTEMS, build_system
from dgss_core.networks.systems.importers import import_system, load_system
from dgss_core.runtime.bundle import sha256_of

PUBLISHED = (
    'rein-dinov2-s',
    'rein-dinov2-b',
    'rein-dinov2-l',
    'rein-eva02-l',
    'rein-clip-l',
    'vltseg-eva02-clip-l',
    'clouds-convnext-l',
    'clouds-rn50',
    'clouds-rn101',
    'famix-rn50',
    'famix-rn101',
    'soma-dinov2-l',
)
"""The systems whose published layout is known."""

LICENCES = {
    'rein': 'code GPL-3.0; no separate licence of the weights is known',
    'vltseg': 'CC-BY-NC-4.0: not for commercial use',
    'clouds': 'code Apache-2.0; no separate licence of the weights is known',
    'famix': 'Apache-2.0 by its README, which ships no licence file',
    'soma': 'code MIT; no separate licence of the weights is known',
}
"""What the publishers state about their files."""

NUMBERS: list[Any] = [
    *(
        (np.float64(0).__reduce__()[0], f'numpy.{core}.multiarray.scalar')
        for core in ('core', '_core')
    ),
    (np.dtype, 'numpy.dtype'),
    *(type(np.dtype(kind)) for kind in ('float32', 'float64', 'int64')),
]
"""Training programs write scores beside the weights as numbers of numpy. They are no code."""


def convert(
    source: Path,
    *,
    system: str,
    output: Path,
    base: Path | None = None,
    labels: str = 'cityscapes19',
    overwrite: bool = False,
) -> None:
    """Convert a published checkpoint to a checkpoint of this package.

    Args:
        source: the published file
        system: what it is, rein-dinov2-l for example; a wrong name lists the known ones
        output: the .safetensors file to write; what it is goes into a .json beside it too
        base: the frozen encoder's file, where the published one leaves it out (Rein, SoMA)
        labels: the label set it was trained for, by name or as a YAML file
        overwrite: replace the output if it exists
    """
    about = convert_file(source, system, output, base, LabelSet.load(labels), overwrite)
    print(f'{output}: {about.system} from {about.source}; licence: {about.licence}')


def convert_file(
    source: Path,
    system: str,
    output: Path,
    base: Path | None,
    label_set: LabelSet,
    overwrite: bool = False,
    **sizes: Any,
) -> About:
    """As `convert`, with the options `sizes` of `build_system`; returns what was written down."""
    if system not in PUBLISHED:
        raise unknown('published system', system, PUBLISHED)
    if output.suffix != '.safetensors':
        raise DgssError(f'{output} must end in .safetensors; that is what is written.')
    manifest = output.with_suffix('.json')
    for path in (output, manifest):
        if path.exists() and not overwrite:
            raise DgssError(f'{path} exists; give another --output, or --overwrite to replace it.')
    with torch.serialization.safe_globals(NUMBERS):
        weights = import_system(
            system, read_weights(source), None if base is None else read_weights(base)
        )
    if system.startswith('soma'):
        # The importer has merged the adapters.
        sizes['rank'] = None
    given = sizes.pop('encoder_options', {})
    sizes['encoder_options'] = {**encoder_options(system, weights), **given}
    model = build_system(system, label_set=label_set, **sizes)
    load_system(model, weights, str(source))
    licence = LICENCES[system.partition('-')[0]]
    about = About(system, sizes, source.name, sha256_of(source), licence)
    save_checkpoint(model, output, about)
    _write_manifest(output, manifest)
    return about


def encoder_options(system: str, weights: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the encoder of `build_system` the published one, read from imported weights.

    Published networks drop the pixels a patch or a pool does not divide, except those of
    CLOUDS, and keep position tables at the grid of their training. VLTSeg leaves the norm inside
    EVA-02-CLIP's attention out.
    """
    options: dict[str, Any] = {}
    if not system.startswith('clouds'):
        options['pad'] = False
    if system.startswith('vltseg-eva02'):
        options['inner_norm'] = False
    table, kernel = weights.get('encoder.embed.table'), weights.get('encoder.embed.proj.weight')
    own_patch = SYSTEMS[system].options.get('patch', 16)
    if table is not None and kernel is not None and kernel.shape[-1] == own_patch:
        prefix = 1 if 'encoder.embed.class_token' in weights else 0
        options['image_size'] = round((table.shape[1] - prefix) ** 0.5) * own_patch
    return options


def _write_manifest(checkpoint: Path, path: Path) -> None:
    about, labels = read_about(checkpoint)
    content = {**asdict(about), 'label_set': labels.to_dict()}
    try:
        path.write_text(json.dumps(content, indent=2) + '\n')
    except OSError as error:
        raise DgssError(
            f'{checkpoint} is written, but {path} beside it could not be ({error}); choose a '
            'folder with enough room.'
        ) from error
