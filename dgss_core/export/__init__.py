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
from dgss_core.adapters.lora import merge_lora
from dgss_core.bundle import INPUT, MASK, Bundle, ReferenceFrame, refuse_existing, write_bundle
from dgss_core.errors import DgssError
from dgss_core.export.frames import Images, images_by_condition, predict, reference_frames
from dgss_core.export.graph import write_onnx
from dgss_core.export.network import DeployedNetwork
from dgss_core.export.quantise import quantise
from dgss_core.manifest import LARGEST_SIDE, PRECISIONS, Manifest
from dgss_core.monitoring.domain_shift import collect
from dgss_core.segmenter import fit
from dgss_core.systems.model import SegmentationModel

__all__ = ['DeployedNetwork', 'export_bundle', 'images_by_condition']

SMALLEST_SIDE = 16
AGREEMENT = 'ids as in fp32, reference frames'
"""The figure in the manifest of a bundle that is not in fp32."""


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
    opset: int | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write `model` as a bundle for images of `height` x `width` pixels, any number at a time.

    Low-rank adapters of `model` are merged into its weights. `precision`: one of
    `PRECISIONS`. `frames`: kept in the bundle with the fp32 answers; None renders one of the
    synthetic drive per condition. `calibration`: what int8 ranges are taken from; None renders
    eight per condition. `source`: RGB images like those of the training, for the domain-shift
    monitor. `opset`: of ONNX. The other arguments become the manifest.

    Raises DgssError when `folder` exists without `overwrite`, for a size or precision that cannot
    be, and for a model that cannot be exported or whose graph answers otherwise than it does.
    """
    refuse_existing(folder, overwrite)
    _check(height, width, precision)
    merge_lora(model)
    network = DeployedNetwork(model).eval()
    if frames is None:
        frames = images_by_condition(None, height, width, 1)
    kept = reference_frames(network, frames)
    classes = len(model.label_set)
    described = None
    if source is not None:
        seen = (fit(image, width, height) for image in source)
        described = collect(((image, predict(network, image)) for image in seen), classes)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / 'model.onnx'
        write_onnx(network, path, height, width, _layers(precision), opset)
        if precision == 'int8':
            if calibration is None:
                calibration = images_by_condition(None, height, width, 8)
            images = [*chain.from_iterable(calibration.values())]
            path = quantise(path, Path(scratch) / 'int8.onnx', images)
        figures = dict(metrics or {})
        if precision != 'bf16':
            figures |= _compare(path, kept, precision)
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
            metrics=figures,
            precision=precision,
            source=described,
        )
        return write_bundle(folder, path, manifest, overwrite, kept)


def _check(height: int, width: int, precision: str) -> None:
    if precision not in PRECISIONS:
        raise DgssError(
            f'There is no precision {precision!r}; choose one of {", ".join(PRECISIONS)}.'
        )
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (height, width)):
        raise DgssError(
            f'A network cannot have {width}x{height} pixels; give sides of {SMALLEST_SIDE} to '
            f'{LARGEST_SIDE}.'
        )


def _layers(precision: str) -> str:
    """The type of what is exported, which int8 is then made of."""
    return 'fp32' if precision == 'int8' else precision


def _compare(network: Path, frames: Sequence[ReferenceFrame], precision: str) -> dict[str, float]:
    """How many ids ONNX Runtime finds as the model did; nothing worth saying for fp32.

    ONNX Runtime has no bf16 on the CPU. Raises DgssError where an fp32 graph differs.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(network, options, providers=['CPUExecutionProvider'])
    equal = [
        session.run([MASK], {INPUT: frame.image[None]})[0][0] == frame.mask for frame in frames
    ]
    if precision != 'fp32':
        return {AGREEMENT: round(float(np.mean(equal)), 4)}
    # Where a network sees nothing it knows, rounding alone decides which class is best.
    sure = [frame.confidence >= 128 for frame in frames]
    share = np.logical_and(equal, sure).sum() / max(1, np.sum(sure))
    if np.any(sure) and share < 0.999:
        raise DgssError(
            f'The exported graph finds {share:.2%} of the ids that the model is sure of, so it is '
            'not the same network; export with another --opset, or report this model.'
        )
    return {}
