"""The bundle: the only artefact that is passed from training to the vehicle.

A bundle is a folder with `manifest.json`, an ONNX network and reference frames. The manifest holds
everything a runtime needs: label set, network size, checksums, licence, figures. The network takes
uint8 RGB images of one fixed size and returns uint8 masks and confidences. Normalisation and
arg-max are inside it, so no user enters a mean, a size or a tensor name.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from dgss_core.documents import refuse_other_kind
from dgss_core.errors import DgssError, missing_error, shown
from dgss_core.images.compressed import UNCHANGED, decode_compressed, decode_pixels
from dgss_core.labels import LabelSet
from dgss_core.runtime.bundle.contents import (
    check_files,
    private_copy,
    read_checked,
    read_whole,
    require_equal,
    unreadable,
)
from dgss_core.runtime.bundle.locations import locations_of
from dgss_core.runtime.manifest import MANIFEST, PRECISIONS, Manifest

FRAMES = 'frames'
LARGEST_MANIFEST = 16 << 20
"""Bytes of a manifest."""
EMBEDDED = Path(__file__).parents[1] / 'bundles' / 'street'
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
    """An opened bundle; its manifest and checksums are checked.

    Files are read again when they are needed, and compared with the manifest each time: a file
    that was exchanged after the bundle was opened raises DgssError.
    """

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
        """SHA-256 of the network, including the weights if they are in separate files."""
        network, weights = self.manifest.network, self._weights
        if not weights:
            return self.manifest.sha256
        if [*weights] == [f'{network}.data']:
            parts = f'{self.manifest.sha256}{weights[f"{network}.data"]}'
        else:
            parts = json.dumps({network: self.manifest.sha256, **weights}, sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def identity(self) -> str:
        """Name and the first eight digits of the fingerprint, for logs and diagnostics."""
        return f'{self.manifest.name}@{self.fingerprint[:8]}'

    @property
    def frames_digest(self) -> str:
        """SHA-256 of the reference frames; empty for a bundle without any."""
        files = self.manifest.files.items()
        frames = {path: sha256 for path, sha256 in files if path.startswith(f'{FRAMES}/')}
        text = json.dumps(frames, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest() if frames else ''

    @property
    def _weights(self) -> dict[str, str]:
        """SHA-256 by path of the files that the network may read: no frames, no other network."""
        apart = (FRAMES, *PRECISIONS)
        files = self.manifest.files.items()
        return {path: sha256 for path, sha256 in files if path.split('/')[0] not in apart}

    @contextmanager
    def checked_network(self) -> Iterator[Path]:
        """The path of the network in a private copy, which lasts until the `with` block ends.

        A library that loads it gets the bytes that were hashed, and finds no other file there.
        Raises DgssError for a file that the manifest does not describe, for a network that names
        another file for its weights, and without room.
        """
        files = {self.manifest.network: self.manifest.sha256, **self._weights}
        with private_copy(self.folder, files) as folder:
            self._check_locations(folder / self.manifest.network)
            yield folder / self.manifest.network

    def _check_locations(self, network: Path) -> None:
        try:
            locations = locations_of(network)
        except ValueError as error:
            raise DgssError(
                f'{self.onnx_path} cannot be loaded by any backend, because it is no ONNX network '
                f'({error}); export the bundle again.'
            ) from error
        for location in sorted(locations):
            if PurePosixPath(location).as_posix() not in self._weights:
                raise DgssError(
                    f'{self.onnx_path} cannot be loaded by any backend, because it reads weights '
                    f'from {shown(location)}, which is no file of its bundle; export '
                    'the bundle again.'
                )

    def frames(self) -> list[ReferenceFrame]:
        """Read the reference frames from disk; empty for a bundle without any.

        Raises DgssError for a frame that cannot be read or has not the network's size.
        """
        suffix = f'.{MASK}.png'
        masks = [path for path in self.manifest.files if path.startswith(f'{FRAMES}/')]
        names = sorted(Path(path).name.removesuffix(suffix) for path in masks if suffix in path)
        return [self._frame(name) for name in names]

    def _frame(self, name: str) -> ReferenceFrame:
        stem = f'{FRAMES}/{name}'
        image = self._read_png(f'{stem}.png', 3)
        mask, confidence = (self._read_png(f'{stem}.{kind}.png', 1) for kind in (MASK, CONFIDENCE))
        return ReferenceFrame(name, name.rpartition('_')[0], image, mask, confidence)

    def _read_png(self, path: str, channels: int) -> np.ndarray:
        """A PNG of RGB (H, W, 3), or with one channel (H, W), uint8 at network size."""
        if path not in self.manifest.files:
            raise DgssError(f'{self.folder} lists no {path}; export the bundle again.')
        data = read_checked(self.folder / path, self.manifest.files[path])
        # The size is in the header: a frame of another size is not decoded at all.
        if data[12:16] != b'IHDR' or struct.unpack_from('>II', data, 16) != (
            self.width,
            self.height,
        ):
            raise DgssError(
                f'The reference frame {self.folder / path} is not {self.width}x{self.height} as '
                'the network is; export the bundle again.'
            )
        try:
            array = decode_compressed(data) if channels == 3 else decode_pixels(data, UNCHANGED)
        except DgssError as error:
            raise DgssError(
                f'{self.folder / path} is damaged; export the bundle again.'
            ) from error
        if channels == 1 and (array.ndim != 2 or array.dtype != np.uint8):
            raise DgssError(
                f'{self.folder / path} is not an 8-bit PNG of one channel; export the bundle '
                'again.'
            )
        return array


def open_bundle(path: str | Path | None = None) -> Bundle:
    """Open the bundle at `path`, or the embedded one for None or ''.

    Checks the manifest against its schema and every file against its checksum, and raises
    DgssError if one is wrong, if the folder holds a file that the manifest does not list, and for
    a link that leaves it. The tensors of the network are checked later, by the backend.
    """
    folder = Path(path) if path else EMBEDDED
    if folder.name == MANIFEST:
        folder = folder.parent
    manifest_path = folder / MANIFEST
    if not os.path.isfile(manifest_path):  # also for names that are no paths
        raise missing_error(
            manifest_path,
            f'There is no bundle at {folder}: a bundle is a folder with {MANIFEST} and its '
            'ONNX file; give the path of such a folder.',
        )
    return _check(folder, _parse(manifest_path, None))


def open_higher(bundle: Bundle, precision: str) -> Bundle | None:
    """The bundle in a higher precision inside `bundle`; None if its manifest lists none.

    Raises DgssError if it is not the one that the manifest of `bundle` describes.
    """
    sha256 = bundle.manifest.files.get(f'{precision}/{MANIFEST}')
    if sha256 is None:
        return None
    inside = bundle.folder / precision
    return _check(inside, _parse(inside / MANIFEST, sha256))


def _parse(path: Path, sha256: str | None) -> Manifest:
    """The manifest at `path`; with `sha256`, only the one with this checksum."""
    try:
        data = read_whole(path, LARGEST_MANIFEST)
        if sha256 is None:
            refuse_other_kind(path)
        else:
            require_equal(path, hashlib.sha256(data).hexdigest(), sha256)
    except OSError as error:
        raise unreadable(path, error) from error
    return Manifest.from_json(data, str(path))


def _check(folder: Path, manifest: Manifest) -> Bundle:
    check_files(folder, {manifest.network: manifest.sha256, **manifest.files}, MANIFEST)
    return Bundle(folder, manifest)
