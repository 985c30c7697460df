"""`dgss engine`: build engines ahead of time, list, verify and remove them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from dgss_core.commands.limits import at_least
from dgss_core.commands.tables import print_table
from dgss_core.errors import DgssError
from dgss_core.images.folder import folders_in
from dgss_core.inputs import read_frames
from dgss_core.labels import LabelSet
from dgss_core.paths import is_file
from dgss_core.runtime.backends import PREFERRED, check_backend, load_backend
from dgss_core.runtime.backends.onnx_runtime import CPU, OnnxRuntimeBackend
from dgss_core.runtime.bundle import ReferenceFrame, open_bundle
from dgss_core.runtime.engines.build import (
    FLAVOURS,
    build_engine,
    engine_key,
    import_flavour,
    known_capabilities,
)
from dgss_core.runtime.engines.cache import EngineCache
from dgss_core.runtime.engines.progress import bar
from dgss_core.runtime.engines.proof import (
    REPORT,
    Verification,
    higher_precisions,
    load_report,
    verify,
)
from dgss_core.runtime.key import Device
from dgss_core.runtime.segmenter import Segmenter
from dgss_core.synthetic import CONDITIONS

ERRORS = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def build(
    *,
    bundle: Path | None = None,
    backend: str = 'auto',
    gpu: str = '',
    cache_dir: Path | None = None,
) -> None:
    """Build the engine of a bundle now, so that the vehicle starts without a build.

    Args:
        bundle: bundle folder; the embedded one when left out
        backend: tensorrt or tensorrt_rtx; auto takes the installed one
        gpu: compute capabilities to build for, such as 8.6,8.9; when left out, the GPU of this
            machine, or without a GPU here every one that TensorRT-RTX can build for
        cache_dir: folder of the engines; ~/.cache/dgss/engines when left out
    """
    opened = open_bundle(bundle)
    trt = import_flavour(_flavour(backend))
    device = _target(trt, gpu)
    key = engine_key(trt, opened, device)
    capabilities: list[str] = []
    if not device.driver:  # Ahead of time, for no machine in particular.
        capabilities, key = device.capability.split('+'), key.ahead(device.capability)
    with bar(f'Building for {device.name} ({device.capability})') as progress:
        data, entry = EngineCache(cache_dir).obtain(
            key,
            lambda: build_engine(trt, opened, capabilities, progress),
            ERRORS.print,
            must_keep=True,
        )
    assert entry is not None
    print(f'{entry.engine}: {len(data) / 1e6:.1f} MB, built in {entry.seconds:.1f} s')
    print('It is verified at its first use, or by dgss engine verify on the target machine.')


def list_engines(*, cache_dir: Path | None = None) -> None:
    """List the engines in the cache.

    Args:
        cache_dir: folder of the engines; ~/.cache/dgss/engines when left out
    """
    cache = EngineCache(cache_dir)
    damaged = cache.damaged()
    entries = [entry for entry in cache.entries() if is_file(entry.engine)]
    table = Table(box=None, caption=str(cache.folder))
    for column in ('bundle', 'precision', 'backend', 'for', 'MB', 'built in', 'used', 'verified'):
        table.add_column(column, no_wrap=True)
    for entry in entries:
        key = entry.key
        table.add_row(
            f'{key.bundle}@{key.network[:8]}',
            key.precision,
            f'{key.backend} {key.version}',
            f'{key.device} ({key.capability})',
            f'{entry.size / 1e6:.1f}',
            f'{entry.seconds:.1f} s',
            time.strftime('%Y-%m-%d', time.localtime(entry.used)),
            known.verdict if (known := load_report(entry.folder / REPORT)) else 'at first use',
        )
    if entries:
        print_table(table)
    else:
        print(f'There are no engines in {cache.folder}.')
    for folder in damaged:
        ERRORS.print(
            f'{folder} is damaged; it is built again when it is needed, or removed by dgss engine '
            'prune.'
        )


def verify_engine(
    *,
    bundle: Path | None = None,
    backend: str = 'auto',
    frames: Path | None = None,
    topic: str = '',
    labels: Path | None = None,
    label_set: str | None = None,
    cache_dir: Path | None = None,
) -> None:
    """Compare the answers of a backend on this machine with those of the fp32 reference.

    The report is stored beside the engine; a backend without a passing report is not used.

    Args:
        bundle: bundle folder; the embedded one when left out
        backend: backend to verify; auto verifies the one that it would choose
        frames: image, folder, video or bag to compare on, or a folder with a sub-folder for each
            condition (day, night, ...); the frames in the bundle when left out
        topic: image topic of a bag with several
        labels: folder of 8-bit PNGs of ids with the stems of the images, for mIoU; with the same
            sub-folders
        label_set: label set of these labels, a name or a YAML file, to which the masks are merged;
            that of the bundle when left out
        cache_dir: folder of the engines; ~/.cache/dgss/engines when left out
    """
    check_backend(backend)
    if labels is not None and frames is None:
        raise DgssError('--labels needs --frames, the images that they belong to.')
    if label_set is not None and labels is None:
        raise DgssError('--label-set needs --labels, whose ids it names.')
    opened, cache = open_bundle(bundle), EngineCache(cache_dir)
    labelled_in = LabelSet.load(label_set) if label_set is not None else opened.labels
    opened.labels.merge_to(labelled_in, f'label in {opened.labels.name}')
    kept = [(frame, None) for frame in opened.frames()] if frames is None else []
    if frames is None and not kept:
        raise DgssError(f'{opened.identity} has no reference frames; give some by --frames.')
    loaded = load_backend(
        opened, backend, cache_dir=cache_dir, allow_unverified=True, report=ERRORS.print
    )
    if frames is None:
        report = verify(loaded, opened, kept, cache, ERRORS.print, opened.frames_digest)
    else:
        reference = OnnxRuntimeBackend([opened, *higher_precisions(opened)][-1], 0, (CPU,))
        report = verify(
            loaded,
            opened,
            _with_reference(frames, topic, labels, labelled_in, Segmenter(opened, reference)),
            cache,
            ERRORS.print,
            frames_digest='',
            origin=f'{reference.identity} on {frames}',
            labelled_in=labelled_in,
        )
    _print_report(report)
    if report.reasons:
        raise DgssError(
            f'{loaded.identity} is not the reference: {report.reasons[0]}; use another '
            'backend, or a bundle of higher precision.'
        )


def prune(*, days: float = 30, cache_dir: Path | None = None) -> None:
    """Remove engines that were not used for long, damaged ones, and remains of stopped builds.

    Args:
        days: keep engines used within this number of days; 0 removes all
        cache_dir: folder of the engines; ~/.cache/dgss/engines when left out
    """
    at_least(0, days=days)
    removed = EngineCache(cache_dir).prune(days, ERRORS.print)
    for folder in removed:
        print(f'removed {folder}')
    print(f'{len(removed)} removed')


def _flavour(backend: str) -> str:
    """The TensorRT package for `backend`; for auto, the first that is installed."""
    if backend == 'auto':
        backend = next((name for name in PREFERRED if name in FLAVOURS and find_spec(name)), '')
        if not backend:
            raise DgssError(
                'No TensorRT is installed; run pip install tensorrt-rtx cuda-python, or pip '
                'install tensorrt cuda-python on a Jetson or a data-centre GPU.'
            )
    if backend not in FLAVOURS:
        raise DgssError(f'{backend} builds no engines; use one of {", ".join(FLAVOURS)}.')
    return backend


def _target(trt: ModuleType, gpu: str) -> Device:
    """The GPU to build for; a device without a driver means all its compute capabilities."""
    if gpu:
        return Device('GPUs', '+'.join(part.strip() for part in gpu.split(',')))
    try:
        from dgss_core.runtime.backends import cuda

        return cuda.current_device()
    except DgssError as error:
        known = known_capabilities(trt)
        if not known:
            raise
        ERRORS.print(f'{error} Building ahead of time.')
        return Device('every GPU', '+'.join(known))


def _with_reference(
    source: Path,
    topic: str,
    labels: Path | None,
    labelled_in: LabelSet,
    reference: Segmenter,
) -> Iterator[tuple[ReferenceFrame, np.ndarray | None]]:
    """Yield the user's frames at network size with the reference's answers, and the labels."""
    conditions = folders_in(source, CONDITIONS)
    for condition in conditions or ['']:
        truths = labels / condition if labels else None
        for frame in read_frames(source / condition, topic or None, labels=truths):
            image = reference.prepare(frame.image)
            answer = reference.predict_prepared([image])[0]
            truth = frame.labels
            if truth is not None:
                _check_ids(truth, frame.name, labelled_in)
                truth = cv2.resize(
                    truth, image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT
                )
            name = condition or frame.condition or 'all'
            yield ReferenceFrame(frame.name, name, image, answer.mask, answer.confidence), truth


def _check_ids(labels: np.ndarray, name: str, label_set: LabelSet) -> None:
    """Raise DgssError for labels, uint8 (H, W), with an id that is neither a class nor 255."""
    if (foreign := label_set.foreign_id(labels)) is not None:
        raise DgssError(
            f'The labels of {name} hold the id {foreign}, which {label_set.name} '
            'does not have; give the --label-set of the labels.'
        )


def _print_report(report: Verification) -> None:
    caption = f'{report.backend}; the reference: {report.reference}'
    table = Table(title=f'{report.bundle}: {report.verdict}', caption=caption)
    columns = ('condition', 'frames', 'agreement', 'where sure', 'worst frame', 'worst class')
    for column in (*columns, 'confidence off', 'mIoU', 'reference'):
        table.add_column(column, no_wrap=True)
    for name, figures in (*report.conditions.items(), ('total', report.total)):
        worst, iou = min(figures['class_iou'].items(), key=itemgetter(1), default=('', 0.0))
        table.add_row(
            name,
            str(figures['frames']),
            f'{figures["agreement"]:.2%}',
            f'{figures["sure"]:.2%}',
            f'{figures["worst_frame"]:.2%}',
            f'{worst} {iou:.1%}' if worst else '',
            f'{figures["confidence_difference"]:.2f}',
            f'{figures["miou"]:.1%}' if 'miou' in figures else '',
            f'{figures["reference_miou"]:.1%}' if 'miou' in figures else '',
        )
    print_table(table)
    for reason in report.reasons:
        print(f'- {reason}')
