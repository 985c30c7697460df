"""The bundle: the one artefact that passes from training to the vehicle.

A bundle is a folder with two files: `manifest.json`, which says everything a runtime has to
know (label set, network size, checksum, licence, figures), and the ONNX network it names. The
network takes uint8 RGB images of one fixed size and gives uint8 masks and confidences: the
normalisation and the arg-max are inside it, so no user ever types a mean, a size or a tensor name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet

SCHEMA = 1
MANIFEST = 'manifest.json'
NETWORK = 'model.onnx'
EMBEDDED = Path(__file__).parent / 'bundles' / 'street'
"""The bundle that comes with the package and serves where no other is named."""

INPUT, MASK, CONFIDENCE = 'images', 'mask', 'confidence'
"""Tensor names of the network, the same in every bundle."""


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` holds.

    `height`, `width`: network size in pixels; the segmenter resizes images to it.
    `mean`, `std`: the RGB normalisation (for values 0 to 1) that is inside the network, for the
    record. `metrics`: figures by the name of the split they were measured on.
    """

    name: str
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    label_set: LabelSet
    sha256: str
    producer: str
    licence: str
    training_data: tuple[str, ...]
    metrics: dict[str, float] = field(default_factory=dict)
    network: str = NETWORK
    schema: int = SCHEMA

    def to_json(self) -> str:
        data = asdict(self) | {'label_set': self.label_set.to_dict()}
        return json.dumps({'schema': data.pop('schema'), **data}, indent=2) + '\n'

    @classmethod
    def from_json(cls, text: str, origin: str) -> Manifest:
        """Parse and check a manifest; DgssError names `origin` and the first thing wrong."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise DgssError(f'{origin} is not JSON ({error}); export the bundle again.') from error
        if not isinstance(data, dict) or data.get('schema') != SCHEMA:
            found = data.get('schema') if isinstance(data, dict) else None
            raise DgssError(
                f'{origin} has schema {found!r} and this version reads schema {SCHEMA}; '
                'export the bundle again with this version, or install the one that wrote it.'
            )
        fields = set(cls.__dataclass_fields__)
        missing = fields - set(data) - {'metrics'}
        unknown = set(data) - fields
        if missing or unknown:
            what = f'lacks {sorted(missing)}' if missing else f'has unknown {sorted(unknown)}'
            raise DgssError(f'{origin} {what}; export the bundle again.')
        _check_fields(data, origin)
        label_set = LabelSet.from_dict(data['label_set'], f'label_set in {origin}')
        tuples = {key: tuple(data[key]) for key in ('mean', 'std', 'training_data')}
        return cls(**data | tuples | {'label_set': label_set})


def _check_fields(data: dict[str, Any], origin: str) -> None:
    """Refuse values of a wrong type or range, by the manifest key they stand under."""

    def numbers(value: Any) -> bool:
        return (
            isinstance(value, list)
            and len(value) == 3
            and all(isinstance(v, (int, float)) for v in value)
        )

    network = data['network']
    checks = {
        'name': isinstance(data['name'], str) and data['name'] != '',
        'height': type(data['height']) is int and 0 < data['height'] <= 8192,
        'width': type(data['width']) is int and 0 < data['width'] <= 8192,
        'mean': numbers(data['mean']),
        'std': numbers(data['std']),
        'sha256': isinstance(data['sha256'], str) and len(data['sha256']) == 64,
        'producer': isinstance(data['producer'], str),
        'licence': isinstance(data['licence'], str),
        'training_data': isinstance(data['training_data'], list),
        'metrics': isinstance(data.get('metrics', {}), dict),
        # A plain file name: a manifest may not reach outside its own folder.
        'network': isinstance(network, str)
        and network == Path(network).name
        and network not in ('', '.', '..'),
    }
    wrong = [key for key, right in checks.items() if not right]
    if wrong:
        raise DgssError(
            f'{origin} has an unusable value for {wrong[0]}: {data.get(wrong[0])!r}; '
            'export the bundle again.'
        )


@dataclass(frozen=True)
class Bundle:
    """An opened bundle whose manifest and checksum have been checked."""

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
    def identity(self) -> str:
        """Name and the first eight digits of the checksum, for logs and diagnostics."""
        return f'{self.manifest.name}@{self.manifest.sha256[:8]}'


def open_bundle(path: str | Path | None = None) -> Bundle:
    """Open the bundle at `path`, or the embedded one for None or ''.

    Checks the manifest against its schema and the network against its checksum; a backend checks
    the network's tensors when it loads them. Raises DgssError.
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
    bundle = Bundle(folder, Manifest.from_json(text, str(manifest_path)))
    if not bundle.onnx_path.is_file():
        raise DgssError(
            f'The bundle {folder} lacks its network {bundle.manifest.network}; '
            'copy the whole folder again.'
        )
    found = sha256_of(bundle.onnx_path)
    if found != bundle.manifest.sha256:
        raise DgssError(
            f'{bundle.onnx_path} is not the file its manifest describes (sha256 {found[:12]}..., '
            f'expected {bundle.manifest.sha256[:12]}...); copy or export the bundle again.'
        )
    return bundle


def write_bundle(
    folder: Path, network: Path, manifest: Manifest, overwrite: bool = False
) -> Bundle:
    """Write `network` and `manifest` (its sha256 filled in here) as a bundle, whole or not at all.

    Raises DgssError when `folder` exists and `overwrite` is not set.
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise DgssError(f'{folder} already exists; choose another folder or pass --overwrite.')
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    try:
        staging.chmod(0o755)
        shutil.copyfile(network, staging / NETWORK)
        manifest = replace(manifest, network=NETWORK, sha256=sha256_of(staging / NETWORK))
        (staging / MANIFEST).write_text(manifest.to_json())
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return open_bundle(folder)


def sha256_of(path: Path) -> str:
    with open(path, 'rb') as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
