"""A published checkpoint becomes a checkpoint of this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dgss_core.errors import DgssError, cause
from dgss_core.files import Kind, refuse_file, write_whole
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import About, read_about, save_checkpoint
from dgss_core.networks.encoders.weights import read_weights
from dgss_core.networks.importers.keys import named
from dgss_core.networks.importers.segformer import TRANSFORMERS_FORM
from dgss_core.networks.systems import SYSTEMS, SegmentationModel, build_system
from dgss_core.networks.systems.importers import import_system, load_system
from dgss_core.networks.systems.rein import refined_blocks
from dgss_core.networks.undrawn import Undrawn
from dgss_core.networks.weight_files import Which
from dgss_core.runtime.bundle.contents import sha256_of

OPENMMLAB_SEGFORMER = 'head.project.0.1.weight'
"""A weight of SegFormer in imported files of openmmlab alone."""


@dataclass(frozen=True)
class SourceFacts:
    """What a published file does not say of itself.

    `image_size`: side in pixels of the crops of the training, for the encoder of a base; None
    keeps the grid of the base. `weights`: which to take. `licence`: of the weights. `origin`:
    facts for the bundle, such as the publisher's test, by their names.
    """

    image_size: int | None = None
    weights: Which = 'averaged'
    licence: str = ''
    origin: Mapping[str, str] = field(default_factory=dict)


def convert_checkpoint(
    source: Path,
    system: str,
    output: Path,
    base: Path | None,
    label_set: LabelSet,
    facts: SourceFacts,
    **sizes: Any,
) -> About:
    """Write the published file `source` as the checkpoint `output`, and its metadata beside it.

    `base`: the file of the frozen encoder, for a `source` without it. `sizes`: for `build_system`.
    Replaces a checkpoint and metadata of this package. Returns the metadata. Raises DgssError for
    a file that is not of `system` or has other classes than `label_set`, for outputs that are
    inputs or files of others, and where one cannot be written.
    """
    manifest = output.with_suffix('.json')
    inputs = [source] if base is None else [source, base]
    refuse_file(output, CHECKPOINT, inputs)
    refuse_file(manifest, METADATA, inputs)
    published = read_weights(source, facts.weights)
    frozen = None if base is None else read_weights(base)
    with named(str(source) if base is None else f'{source} with the base {base}'):
        weights = import_system(system, published, frozen)
    if system.startswith('soma'):
        # The importer has merged the adapters.
        sizes['rank'] = None
    sizes = {**head_sizes(weights), **sizes}
    if system.startswith('rein'):
        sizes |= refined_blocks(weights)
    given = sizes.pop('encoder_options', {})
    sizes['encoder_options'] = {**encoder_options(system, weights, facts.image_size), **given}
    with Undrawn():
        model = build_system(system, label_set=label_set, **sizes)
    _check_classes(model, weights, source)
    load_system(model, weights, str(source))
    about = About(
        system, sizes, source.name, sha256_of(source), facts.licence, origin=dict(facts.origin)
    )
    save_checkpoint(model, output, about)
    _write_manifest(output, manifest)
    return about


def _check_classes(model: SegmentationModel, weights: Mapping[str, Any], source: Path) -> None:
    """Raise DgssError if the last layer has rows for another number of classes."""
    layer = f'head.{model.head.classifier}.weight'
    own, found = model.state_dict().get(layer), weights.get(layer)
    if own is None or found is None or own.shape[1:] != found.shape[1:]:
        return
    classes = len(model.label_set)
    if more := len(found) - len(own):
        raise DgssError(
            f'{source} has {classes + more} classes and {model.label_set.name} has {classes}; '
            'give the label set of its training by --labels.'
        )


def head_sizes(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `build_system` for the head that imported `weights` belong to."""
    queries = weights.get('head.queries', weights.get('head.decoder.query_content'))
    sizes: dict[str, Any] = {} if queries is None else {'queries': len(queries)}
    if OPENMMLAB_SEGFORMER in weights:
        sizes['activated'] = True
    return sizes


def encoder_options(
    system: str, weights: Mapping[str, Any], image_size: int | None = None
) -> dict[str, Any]:
    """Options that make the encoder of `build_system` equal to the published one.

    `weights`: the imported weights. Published networks, except CLOUDS, drop the pixels at the
    border that a patch or a pool does not divide, and have position tables for the grid of their
    training: that of `image_size` pixels, or without it the grid of the file if its patches have
    the size of the training. VLTSeg has no norm inside the attention of EVA-02-CLIP. The norms of
    SegFormer differ between transformers and openmmlab. Raises DgssError for a DINOv2 that was
    made for another size: it was resampled once already.
    """
    options: dict[str, Any] = {}
    if not system.startswith('clouds'):
        options['pad'] = False
    if system.startswith('vltseg-eva02'):
        options['inner_norm'] = False
    if system.startswith('segformer') and OPENMMLAB_SEGFORMER not in weights:
        options.update(TRANSFORMERS_FORM)
    table, kernel = weights.get('encoder.embed.table'), weights.get('encoder.embed.proj.weight')
    own_patch = SYSTEMS[system].options.get('patch', 16)
    if table is not None and kernel is not None and kernel.shape[-1] == own_patch:
        # With registers the table is for patches alone.
        prefix = int(
            'encoder.embed.class_token' in weights and 'encoder.embed.registers' not in weights
        )
        options['image_size'] = round((table.shape[1] - prefix) ** 0.5) * own_patch
    if image_size is not None:
        made_for = options.get('image_size', image_size)
        if made_for != image_size and SYSTEMS[system].encoder.startswith('dinov2'):
            raise DgssError(
                f'The base was made for crops of {made_for} pixels and the training had '
                f'{image_size}; give the official DINOv2 file (patch 14), which is resampled '
                'here, or the size of the crops as --image-size.'
            )
        options['image_size'] = image_size
    return options


def _why_no_checkpoint(path: Path) -> str:
    read_about(path)  # Raises DgssError with the reason.
    return ''


def _why_no_metadata(path: Path) -> str:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        return f'it is not JSON: {error}'
    known = isinstance(content, dict) and {'system', 'sizes', 'label_set'} <= content.keys()
    return '' if known else 'it describes no checkpoint'


CHECKPOINT = Kind('a checkpoint of dgss', _why_no_checkpoint)
METADATA = Kind('the metadata of a checkpoint', _why_no_metadata)


def _write_manifest(checkpoint: Path, path: Path) -> None:
    about, labels = read_about(checkpoint)
    content = {**asdict(about), 'label_set': labels.to_dict()}
    try:
        write_whole(path, f'{json.dumps(content, indent=2)}\n'.encode())
    except OSError as error:
        raise DgssError(
            f'{checkpoint} is written, but {path} could not be written ({cause(error)}); choose a '
            'folder with enough room.'
        ) from error
