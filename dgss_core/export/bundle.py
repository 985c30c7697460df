"""From a trained model to a bundle: one graph from the bytes of the camera to ids."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch

from dgss_core import __version__
from dgss_core.errors import DgssError
from dgss_core.export.frames import Images, images_by_condition, predict, reference_frames
from dgss_core.export.graph import OPSET, write_narrow, write_onnx
from dgss_core.export.int8 import quantise
from dgss_core.export.network import DeployedNetwork
from dgss_core.export.precision import TYPES
from dgss_core.networks.adapters.lora import merge_lora
from dgss_core.networks.systems.model import SegmentationModel
from dgss_core.runtime.bundle import (
    INPUT,
    MASK,
    Bundle,
    ReferenceFrame,
    refuse_existing,
    write_bundle,
)
from dgss_core.runtime.manifest import LARGEST_SIDE, NETWORK, Manifest
from dgss_core.runtime.monitoring.domain_shift import SourceStatistics, collect
from dgss_core.runtime.segmenter import fit

SMALLEST_SIDE = 16
HIGHER = {'fp32': (), 'fp16': ('bf16', 'fp32'), 'bf16': ('fp32',), 'int8': ('fp32',)}
"""The precisions that a bundle carries besides its own, for engines that fail their proof."""
AGREEMENT = 'ids as in fp32, reference frames'
"""The figure in the manifest of a bundle in fp16 or int8. ONNX Runtime has no bf16 on the CPU."""


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
    precision: str = 'fp32',
    frames: Images | None = None,
    calibration: Images | None = None,
    source: Iterable[np.ndarray] | None = None,
    opset: int = OPSET,
    overwrite: bool = False,
) -> Bundle:
    """Write `model` as a bundle for images of `height` x `width` pixels, any number at a time.

    Low-rank adapters of `model` are merged into its weights. `precision`: one of
    `HIGHER`. `frames`: kept in the bundle with the fp32 answers; None renders one of the
    synthetic drive per condition. `calibration`: what int8 ranges are taken from; None renders
    eight per condition. `source`: RGB images like those of the training, for the domain-shift
    monitor. `opset`: of ONNX. The other arguments become the manifest.

    Raises DgssError when `folder` exists without `overwrite`, for a size or precision that cannot
    be, and for a model that cannot be exported or whose graph answers otherwise than it does.
    """
    refuse_existing(folder, overwrite)
    _check(height, width, precision, opset)
    merge_lora(model)
    network = DeployedNetwork(model).eval()
    if frames is None:
        frames = images_by_condition(None, height, width, 1)
    kept = reference_frames(network, frames)
    manifest = Manifest(
        name=name,
        height=height,
        width=width,
        mean=model.encoder.mean,
        std=model.encoder.std,
        label_set=model.label_set,
        sha256='',
        producer=f'dgss_core {__version__}, torch {torch.__version__}',
        licence=licence,
        training_data=training_data,
        metrics=dict(metrics or {}),
        precision=precision,
        source=None if source is None else _describe(network, source, height, width),
    )
    with tempfile.TemporaryDirectory() as scratch:
        kinds = (precision, *HIGHER[precision])
        networks = {kind: Path(scratch) / kind / NETWORK for kind in kinds}
        for path in networks.values():
            path.parent.mkdir()
        write_onnx(network, networks['fp32'], height, width, opset)
        _require_equal(networks['fp32'], kept)
        for kind in networks.keys() & TYPES.keys():
            write_narrow(networks['fp32'], networks[kind], kind)
        if precision == 'int8':
            images = calibration or images_by_condition(None, height, width, 8)
            quantise(networks['fp32'], networks['int8'], [*chain.from_iterable(images.values())])
        if precision in ('fp16', 'int8'):
            share = np.mean(_same_ids(networks[precision], kept))
            manifest.metrics[AGREEMENT] = round(float(share), 4)
        return write_bundle(folder, networks.pop(precision), manifest, overwrite, kept, networks)


def _describe(
    network: DeployedNetwork, images: Iterable[np.ndarray], height: int, width: int
) -> SourceStatistics:
    fitted = (fit(image, width, height) for image in images)
    seen = ((image, predict(network, image)) for image in fitted)
    return collect(seen, len(network.model.label_set))


def _check(height: int, width: int, precision: str, opset: int) -> None:
    if precision not in HIGHER:
        raise DgssError(f'There is no precision {precision!r}; choose one of {", ".join(HIGHER)}.')
    if opset < OPSET:
        raise DgssError(f'A network needs ONNX opset {OPSET} or later, not {opset}.')
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (height, width)):
        raise DgssError(
            f'A network cannot have {width}x{height} pixels; give sides of {SMALLEST_SIDE} to '
            f'{LARGEST_SIDE}.'
        )


def _same_ids(network: Path, frames: Sequence[ReferenceFrame]) -> np.ndarray:
    """Where ONNX Runtime finds the ids of the reference, bool (frames, H, W)."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(network, options, providers=['CPUExecutionProvider'])
    found = [session.run([MASK], {INPUT: frame.image[None]})[0][0] for frame in frames]
    return np.array([mask == frame.mask for mask, frame in zip(found, frames, strict=True)])


def _require_equal(network: Path, frames: Sequence[ReferenceFrame]) -> None:
    """Raise DgssError where a network in fp32 is not the one that answered `frames`."""
    # Where a network sees nothing it knows, rounding alone decides which class is best.
    sure = np.array([frame.confidence >= 128 for frame in frames])
    same = _same_ids(network, frames)[sure]
    if same.size and same.mean() < 0.999:
        raise DgssError(
            f'The exported graph finds {same.mean():.2%} of the ids that the model is sure of, so '
            'it is not the same network; export with another --opset, or report this model.'
        )
