"""Writing bundles: complete or not at all, and only in the place of another bundle."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dgss_core.errors import DgssError, cause
from dgss_core.files import Kind, refuse_replacing, replacing, replacing_folder
from dgss_core.runtime.bundle import CONFIDENCE, FRAMES, MASK, Bundle, ReferenceFrame, open_bundle
from dgss_core.runtime.bundle.contents import sha256_of
from dgss_core.runtime.manifest import MANIFEST, NETWORK, Manifest

NETWORKS = ('.onnx', '.onnx.data')


def write_bundle(
    folder: Path,
    network: Path,
    manifest: Manifest,
    overwrite: bool = False,
    frames: Sequence[ReferenceFrame] = (),
    higher: Mapping[str, Path] | None = None,
) -> Bundle:
    """Write `network`, `frames` and `manifest` as a bundle, complete or not at all.

    Fills in the checksums of the manifest, and copies weights in `<network>.data` too. `higher`:
    the same network in higher precisions, by precision; each becomes a bundle in a sub-folder of
    that name. Raises DgssError as `refuse_existing` does, or if `folder` cannot be written.
    """
    folder = Path(folder)
    try:
        with replacing_folder(folder, BUNDLE, overwrite=overwrite) as staging:
            for precision, path in (higher or {}).items():
                (staging / precision).mkdir()
                _fill(staging / precision, path, replace(manifest, precision=precision), ())
            _fill(staging, network, manifest, frames)
    except OSError as error:
        raise DgssError(
            f'{folder} could not be written ({cause(error)}); choose a folder with enough room '
            'that you may write to.'
        ) from error
    return open_bundle(folder)


def refuse_existing(folder: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Raise DgssError if `folder` exists and must not be overwritten.

    With `overwrite`, only a bundle that holds nothing else is, and none of `inputs`.
    """
    refuse_replacing(folder, BUNDLE, overwrite=overwrite, inputs=inputs)


def _why_no_bundle(folder: Path) -> str:
    if not (folder / MANIFEST).is_file():
        return f'it has no {MANIFEST}'
    files = Manifest.from_json((folder / MANIFEST).read_text(), str(folder / MANIFEST)).files
    for path in folder.rglob('*'):
        name = path.relative_to(folder).as_posix()
        known = name in files or path.name == MANIFEST or path.name.endswith(NETWORKS)
        frame = path.parent.name == FRAMES and path.suffix == '.png'
        if not (known or frame or (path.is_dir() and not path.is_symlink())):
            return f'it holds {name}'
    return ''


BUNDLE = Kind('a bundle', _why_no_bundle)


def update_manifest(bundle: Bundle, **changes: Any) -> Bundle:
    """Change fields of the manifest that are known only after export, such as `metrics`."""
    manifest = replace(bundle.manifest, **changes)
    text = _checked_text(manifest)
    with replacing(bundle.folder / MANIFEST, beside=bundle.folder.resolve()) as staged:
        staged.write_text(text)
    return Bundle(bundle.folder, manifest)


def _fill(
    folder: Path, network: Path, manifest: Manifest, frames: Sequence[ReferenceFrame]
) -> None:
    shutil.copyfile(network, folder / NETWORK)
    weights = network.with_name(f'{network.name}.data')
    if weights.exists():
        shutil.copyfile(weights, folder / weights.name)
    if frames:
        (folder / FRAMES).mkdir()
    for frame in frames:
        stem = folder / FRAMES / frame.name
        _write_png(Path(f'{stem}.png'), frame.image[..., ::-1])
        _write_png(Path(f'{stem}.{MASK}.png'), frame.mask)
        _write_png(Path(f'{stem}.{CONFIDENCE}.png'), frame.confidence)
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob('*'))
        if path.is_file() and path != folder / NETWORK
    }
    manifest = replace(manifest, network=NETWORK, sha256=sha256_of(folder / NETWORK), files=files)
    (folder / MANIFEST).write_text(_checked_text(manifest))


def _checked_text(manifest: Manifest) -> str:
    """The text of a manifest; raises DgssError for one that `open_bundle` would refuse."""
    text = manifest.to_json()
    Manifest.from_json(text, 'The manifest of the new bundle')
    return text


def _write_png(path: Path, array: np.ndarray) -> None:
    path.write_bytes(cv2.imencode('.png', array, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes())
