"""`dgss export`: a checkpoint becomes a bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from dgss_core.errors import DgssError
from dgss_core.export import export_bundle, images_by_condition
from dgss_core.export.frames import Images
from dgss_core.export.graph import OPSET
from dgss_core.inputs import read_frames
from dgss_core.networks.checkpoint import load_checkpoint, read_about
from dgss_core.runtime.backends.onnx_runtime import CPU, OnnxRuntimeBackend
from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.bundle.writing import refuse_existing
from dgss_core.runtime.engines.verify import GATES, compare


def export(
    checkpoint: Path,
    *,
    output: Path,
    height: int = 512,
    width: int = 1024,
    precision: Literal['fp32', 'fp16', 'bf16', 'int8'] = 'fp32',
    name: str | None = None,
    licence: str | None = None,
    frames: Path | None = None,
    calibration: Path | None = None,
    source: Path | None = None,
    topic: str | None = None,
    opset: int = OPSET,
    overwrite: bool = False,
) -> None:
    """Export a checkpoint as a bundle: one network from camera bytes to ids, and a manifest.

    Args:
        checkpoint: the .safetensors file that dgss train or dgss convert wrote
        output: the folder to write
        height: height of the network in pixels
        width: width of the network in pixels
        precision: of the layers; norms, softmax and attention scores stay in fp32
        name: name of the bundle; the system's when left out
        licence: terms of the weights; the checkpoint's when left out
        frames: folder with images in day/, night/, ...; two of each are stored with the fp32
            answers, for the proof on the target; rendered ones when left out
        calibration: folder with images in day/, night/, ... for the int8 ranges; up to 32 of each
            are used; rendered ones when left out
        source: folder with images like those of the training, for the domain-shift monitor
        topic: image topic, if these are bags that have several
        opset: ONNX opset
        overwrite: replace the output if it is a bundle
    """
    about, _ = read_about(checkpoint)
    given = (checkpoint, frames, calibration, source)
    refuse_existing(output, overwrite, [path for path in given if path is not None])
    terms = licence or about.licence
    if not terms:
        raise DgssError(f'{checkpoint} does not say its licence; give the terms as --licence.')
    if calibration is not None and precision != 'int8':
        raise DgssError(f'--calibration is for int8, not {precision}; leave it out.')

    def images(folder: Path | None, count: int) -> Images | None:
        if folder is None:
            return None
        return images_by_condition(folder, height=height, width=width, count=count, topic=topic)

    bundle = export_bundle(
        load_checkpoint(checkpoint),
        output,
        name=name or about.system,
        height=height,
        width=width,
        licence=terms,
        training_data=about.training_data,
        origin=about.origin,
        precision=precision,
        frames=images(frames, 2),
        calibration=images(calibration, 32),
        source=None if source is None else (frame.image for frame in read_frames(source, topic)),
        opset=opset,
        overwrite=overwrite,
    )
    size = sum(file.stat().st_size for file in bundle.folder.rglob('*'))
    print(f'{output}: {bundle.identity}, {width}x{height}, {precision}, {size / 1e6:.1f} MB')
    for figure, value in bundle.manifest.metrics.items():
        print(f'{figure}: {value:.2%}')
    if precision in ('fp16', 'int8') and (reason := _refusal(bundle)):
        print(
            f'{output} will be run in a higher precision, because a backend refuses it in '
            f'{precision}: {reason} (ONNX Runtime, CPU). Pass --frames of your own drives if '
            'the network was not trained on frames like the reference frames, or export another '
            'precision.',
            file=sys.stderr,
        )


def _refusal(bundle: Bundle) -> str:
    """The first reason why a backend will refuse the narrow network of `bundle`, or nothing."""
    backend = OnnxRuntimeBackend(bundle, 0, (CPU,))
    frames = ((frame, None) for frame in bundle.frames())
    outcome = compare(backend, frames, bundle.labels, GATES[bundle.manifest.precision])
    backend.close()
    return next(iter(outcome.reasons), '')
