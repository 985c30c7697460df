"""The bundle: the only artefact that is passed from training to the vehicle.

A bundle is a folder with `manifest.json`, an ONNX network and reference frames. The manifest holds
everything a runtime needs: label set, network size, checksums, licence, figures. The network takes
uint8 RGB images of one fixed size and returns uint8 masks and confidences. Normalisation and
arg-max are inside it, so no user enters a mean, a size or a tensor name.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.files import Kind, refuse_replacing, replacing_folder, write_whole
from dgss_core.images.frames import read_image, read_labels
from dgss_core.labels import LabelSet
from dgss_core.runtime.manifest import NETWORK, Manifest

MANIFEST = 'manifest.json'
FRAMES = 'frames'
NETWORKS = ('.onnx', '.onnx.data')
EMBEDDED = Path(__file__).parent / 'bundles' / 'street'
"""The bundle in the package, used when no other is named."""

INPUT, MASK, CONFIDENCE = 'images', 'mask', 'confidence'
"""Tensor names of the network, the same in every bundle; all uint8."""
UNCERTAINTY, STATISTICS = 'uncertainty', 'statistics'
"""Optional outputs of a network.

`uncertainty`: uint8 (N, H, W), the entropy of the classes; 255 is most unsure. `statistics`:
float32 (N, K), means and standard deviations of the channels of an early feature map.
"""


@dataclass(frozen=True)
class ReferenceFrame:
    """One frame with the answer of the fp32 network at export.

    `condition`: one of `dgss_core.synthetic.CONDITIONS`. `image`: RGB uint8 (H, W, 3) at network
    size; `mask`, `confidence`: uint8 (H, W).
    """

    name: str
    condition: str
    image: np.ndarray
    mask: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; its manifest and checksums are checked."""

    folder: Path
    manifest: Manifest

    @property
    def labels(self) -> LabelSet:
        return self.manifest.label_set

    @property
    def height(self) -> int:
        return self.manifest.height

    @property
    def width(self) -> int:
        return self.manifest.width

    @property
    def onnx_path(self) -> Path:
        return self.folder / self.manifest.network

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the network, including the weights if they are in a separate file."""
        weights = self.manifest.files.get(f'{self.manifest.network}.data')
        if weights is None:
            return self.manifest.sha256
        return hashlib.sha256(f'{self.manifest.sha256}{weights}'.encode()).hexdigest()

    @property
    def identity(self) -> str:
        """Name and the first eight digits of the fingerprint, for logs and diagnostics."""
        return f'{self.manifest.name}@{self.fingerprint[:8]}'

    def frames(self) -> list[ReferenceFrame]:
        """Read the reference frames from disk; empty for a bundle without any.

        Raises DgssError for a frame that cannot be read or has not the network's size.
        """
        suffix = f'.{MASK}.png'
        masks = [path for path in self.manifest.files if path.startswith(f'{FRAMES}/')]
        names = sorted(Path(path).name.removesuffix(suffix) for path in masks if suffix in path)
        return [self._frame(name) for name in names]

    def _frame(self, name: str) -> ReferenceFrame:
        stem = self.folder / FRAMES / name
        image = read_image(Path(f'{stem}.png'))
        mask, confidence = (read_labels(Path(f'{stem}.{kind}.png')) for kind in (MASK, CONFIDENCE))
        for array in (image, mask, confidence):
            if array.shape[:2] != (self.height, self.width):
                raise DgssError(
                    f'The reference frame {stem} is not {self.width}x{self.height} as the '
                    'network is; export the bundle again.'
                )
        return ReferenceFrame(name, name.rpartition('_')[0], image, mask, confidence)


def open_bundle(path: str | Path | None = None) -> Bundle:
    """Open the bundle at `path`, or the embedded one for None or ''.

    Checks the manifest against its schema and every file against its checksum, and raises
    DgssError if one is wrong. The tensors of the network are checked later, by the backend.
    """
    folder = Path(path) if path else EMBEDDED
    if folder.name == MANIFEST:
        folder = folder.parent
    manifest_path = folder / MANIFEST
    if not manifest_path.is_file():
        raise DgssError(
            f'There is no bundle at {folder}: a bundle is a folder with {MANIFEST} and its '
            'ONNX file; give the path of such a folder.'
        )
    try:
        text = manifest_path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DgssError(f'{manifest_path} cannot be read: {error}.') from error
    manifest = Manifest.from_json(text, str(manifest_path))
    for name, sha256 in {manifest.network: manifest.sha256, **manifest.files}.items():
        _check_file(folder / name, sha256)
    return Bundle(folder, manifest)


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
            f'{folder} could not be written ({error}); choose a folder with enough room that you '
            'may write to.'
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
    write_whole(bundle.folder / MANIFEST, manifest.to_json().encode())
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
    (folder / MANIFEST).write_text(manifest.to_json())


def _write_png(path: Path, array: np.ndarray) -> None:
    path.write_bytes(cv2.imencode('.png', array, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes())


def _check_file(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise DgssError(
            f'The bundle {path.parent} lacks {path.name}; copy the whole folder again.'
        )
    found = sha256_of(path)
    if found != sha256:
        raise DgssError(
            f'{path} is not the file its manifest describes (sha256 {found[:12]}..., expected '
            f'{sha256[:12]}...); copy or export the bundle again.'
        )


def sha256_of(path: Path) -> str:
    with open(path, 'rb') as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
