"""From a trained model to a bundle: one graph from camera bytes to class ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from onnx.defs import onnx_opset_version

from dgss_core import __version__
from dgss_core.errors import DgssError
from dgss_core.export.frames import Images, images_by_condition, predict, reference_frames
from dgss_core.export.graph import OPSET, write_narrow, write_onnx
from dgss_core.export.int8 import quantise
from dgss_core.export.network import DeployedNetwork
from dgss_core.export.precision import TYPES
from dgss_core.networks.adapters.lora import merge_lora
from dgss_core.networks.systems.model import SegmentationModel
from dgss_core.paths import scratch_folder
from dgss_core.runtime.backend import unexpected
from dgss_core.runtime.bundle import INPUT, MASK, Bundle, ReferenceFrame
from dgss_core.runtime.bundle.writing import refuse_existing, write_bundle
from dgss_core.runtime.manifest import LARGEST_SIDE, NETWORK, Manifest
from dgss_core.runtime.monitoring.domain_shift import SourceStatistics, collect
from dgss_core.runtime.segmenter import resize_to_network

SMALLEST_SIDE = 16
HIGHER = {'fp32': (), 'fp16': ('bf16', 'fp32'), 'bf16': ('fp32',), 'int8': ('fp32',)}
"""Further precisions inside a bundle, for engines that fail their proof."""
AGREEMENT = 'ids as in fp32, reference frames'
"""Name of a figure in the manifest, for fp16 and int8 only: ONNX Runtime has no bf16 on a CPU."""


def export_bundle(
    model: SegmentationModel,
    folder: Path,
    *,
    name: str,
    height: int,
    width: int,
    licence: str,
    training_data: tuple[str, ...] = (),
    metrics: Mapping[str, float] | None = None,
    origin: Mapping[str, str] | None = None,
    precision: str = 'fp32',
    frames: Images | None = None,
    calibration: Images | None = None,
    source: Iterable[np.ndarray] | None = None,
    opset: int = OPSET,
    overwrite: bool = False,
) -> Bundle:
    """Write `model` as a bundle for `height` x `width` pixels and any batch size.

    Merges low-rank adapters of `model` into its weights. `precision`: a key of `HIGHER`. `frames`:
    stored in the bundle with the fp32 answers; None renders one of the synthetic drive per
    condition. `calibration`: images for the int8 ranges; None renders eight per condition.
    `source`: RGB images like those of the training, for the domain-shift monitor. `opset`: of
    ONNX. The other arguments go into the manifest.

    Raises DgssError if `folder` exists without `overwrite`, for an invalid size, precision or
    opset, and for a model that cannot be exported or whose graph gives other answers.
    """
    refuse_existing(folder, overwrite)
    refuse_unfit(height=height, width=width, precision=precision, opset=opset)
    merge_lora(model)
    network = DeployedNetwork(model).eval()
    if frames is None:
        frames = images_by_condition(None, height=height, width=width, count=1)
    references = reference_frames(network, frames)
    manifest = manifest_of(
        model,
        name=name,
        height=height,
        width=width,
        licence=licence,
        training_data=training_data,
        metrics=dict(metrics or {}),
        origin=dict(origin or {}),
        precision=precision,
        source=None if source is None else _describe(network, source, height=height, width=width),
    )
    with scratch_folder() as scratch:
        networks = _write_networks(scratch, network, manifest, opset, calibration, references)
        return write_bundle(
            folder,
            networks.pop(precision),
            manifest,
            overwrite,
            frames=references,
            higher=networks,
        )


def manifest_of(model: SegmentationModel, **about: Any) -> Manifest:
    """The manifest of a network that is exported here; `about`: what `model` does not tell."""
    return Manifest(
        mean=model.encoder.mean,
        std=model.encoder.std,
        label_set=model.label_set,
        sha256='',
        producer=f'dgss_core {__version__}, torch {torch.__version__}',
        **about,
    )


def _write_networks(
    folder: Path,
    network: DeployedNetwork,
    manifest: Manifest,
    opset: int,
    calibration: Images | None,
    references: Sequence[ReferenceFrame],
) -> dict[str, Path]:
    """Write `network` in every precision of the bundle; adds `AGREEMENT` to the metrics."""
    precision, size = manifest.precision, {'height': manifest.height, 'width': manifest.width}
    kinds = (precision, *HIGHER[precision])
    networks = {kind: folder / kind / NETWORK for kind in kinds}
    for path in networks.values():
        path.parent.mkdir()
    write_onnx(network, networks['fp32'], **size, opset=opset)
    _require_equal(networks['fp32'], references)
    for kind in networks.keys() & TYPES.keys():
        write_narrow(networks['fp32'], networks[kind], kind)
    if precision == 'int8':
        images = calibration or images_by_condition(
            None, height=manifest.height, width=manifest.width, count=8
        )
        quantise(networks['fp32'], networks['int8'], [*chain.from_iterable(images.values())])
    if precision in ('fp16', 'int8'):
        share = np.mean(_same_ids(networks[precision], references))
        manifest.metrics[AGREEMENT] = round(float(share), 4)
    return networks


def _describe(
    network: DeployedNetwork, images: Iterable[np.ndarray], *, height: int, width: int
) -> SourceStatistics:
    resized = (resize_to_network(image, height=height, width=width) for image in images)
    frames = ((image, predict(network, image)) for image in resized)
    return collect(frames, len(network.model.label_set))


def refuse_unfit(*, height: int, width: int, precision: str, opset: int = OPSET) -> None:
    """Raise DgssError for a size in pixels, a precision or an opset that no bundle can have."""
    if precision not in HIGHER:
        raise DgssError(f'There is no precision {precision!r}; choose one of {", ".join(HIGHER)}.')
    if opset < OPSET:
        raise DgssError(f'A network needs ONNX opset {OPSET} or later, not {opset}.')
    if opset > (latest := onnx_opset_version()):
        raise DgssError(f'ONNX opset {opset} is unknown here; give at most {latest}.')
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (height, width)):
        raise DgssError(
            f'A network cannot have {width}x{height} pixels; give sides of {SMALLEST_SIDE} to '
            f'{LARGEST_SIDE}.'
        )


def _same_ids(network: Path, frames: Sequence[ReferenceFrame]) -> np.ndarray:
    """Where ONNX Runtime returns the ids of the reference, bool (frames, H, W).

    Raises DgssError if it cannot run the network.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4  # What it logs as errors, its exceptions say too.
    try:
        session = ort.InferenceSession(network, options, providers=['CPUExecutionProvider'])
        found = [session.run([MASK], {INPUT: frame.image[None]})[0][0] for frame in frames]
    except Exception as error:  # Its exceptions share no base.
        raise DgssError(
            f'ONNX Runtime {ort.__version__} cannot run the exported graph ({unexpected(error)}); '
            f'export with --opset {OPSET} or a smaller size, or report this model.'
        ) from error
    return np.array([mask == frame.mask for mask, frame in zip(found, frames, strict=True)])


def _require_equal(network: Path, frames: Sequence[ReferenceFrame]) -> None:
    """Raise DgssError if the fp32 graph gives other answers than those in `frames`."""
    # On unsure pixels, rounding decides which class is best.
    sure = np.array([frame.confidence >= 128 for frame in frames])
    same = _same_ids(network, frames)[sure]
    if same.size and same.mean() < 0.999:
        raise DgssError(
            f'The exported graph finds {same.mean():.2%} of the ids that the model is sure of, so '
            'it is not the same network; export with another --opset, or report this model.'
        )
