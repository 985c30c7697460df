"""A data set for FiftyOne, in its own format on disk (`fiftyone.types.FiftyOneDataset`).

FiftyOne need not be installed to write it. Version 1.0.0 is that of the documents; later ones
read it and bring it up to date.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core.documents import read_json
from dgss_core.evaluation.exports.frames import SCORES, Drive, Shown
from dgss_core.evaluation.frames import flat_name
from dgss_core.files import Kind, replacing_folder
from dgss_core.images.compressed import encode_jpeg, encode_png
from dgss_core.labels import IGNORE, LabelSet

FOLDER = 'fiftyone'
VERSION = '1.0.0'
QUALITY = 95
METADATA, SAMPLES, DATA, FIELDS = 'metadata.json', 'samples.json', 'data', 'fields'
MASKS, LABELS, CONFIDENCES = 'predictions', 'ground_truth', 'confidence_map'
MARK = 'dgss evaluate'
TEXTS = ('name', 'source', 'drive', 'condition')


def write_dataset(folder: Path, drives: Iterable[Drive], labels: LabelSet) -> None:
    """Write all drives as one data set; an earlier folder of this kind is replaced.

    The ids of the classes are one higher than elsewhere: FiftyOne does not show the value 0, which
    is here a pixel without a class. Raises DgssError for a folder of another kind.
    """
    with replacing_folder(folder, DATASET) as staging:
        for name in (DATA, *(f'{FIELDS}/{name}' for name in (MASKS, LABELS, CONFIDENCES))):
            (staging / name).mkdir(parents=True)
        (staging / METADATA).write_text(json.dumps(_metadata(labels)), encoding='utf-8')
        with (staging / SAMPLES).open('w', encoding='utf-8') as file:
            file.write('{"samples": [')
            for number, sample in enumerate(_samples(staging, drives)):
                file.write(',\n' * (number > 0) + json.dumps(sample))
            file.write(']}\n')


def _samples(folder: Path, drives: Iterable[Drive]) -> Iterator[dict[str, Any]]:
    number, random, taken = 0, np.random.default_rng(0), set[str]()
    for drive in drives:
        for frame in drive.frames:
            name = flat_name(f'{drive.name}_{frame.name}', taken)
            yield _sample(folder, drive, frame, name, number) | {'_rand': random.random()}
            number += 1


def _sample(folder: Path, drive: Drive, frame: Shown, name: str, number: int) -> dict[str, Any]:
    """Write the pictures of a frame to files of that name; returns its document."""
    image = encode_jpeg(frame.image, QUALITY)
    (folder / DATA / f'{name}.jpg').write_bytes(image)
    height, width = frame.mask.shape
    found: dict[str, Any] = {
        '_id': _id(number, 0),
        'filepath': f'{DATA}/{name}.jpg',
        'tags': [frame.condition],
        '_media_type': 'image',
        'metadata': {
            '_cls': 'ImageMetadata',
            'size_bytes': len(image),
            'mime_type': 'image/jpeg',
            'width': width,
            'height': height,
            'num_channels': 3,
        },
        'name': frame.name,
        'source': drive.title,
        'drive': frame.drive,
        'condition': frame.condition,
        'stamp_ns': frame.stamp_ns,
        **{_score(key): frame.facts.get(key) for key in SCORES},
    }

    def put(field: str, pixels: np.ndarray) -> str:
        (folder / FIELDS / field / f'{name}.png').write_bytes(encode_png(pixels))
        return f'{FIELDS}/{field}/{name}.png'

    for part, (field, ids) in enumerate(((MASKS, frame.mask), (LABELS, frame.labels)), 1):
        if ids is not None:
            about = {'_cls': 'Segmentation', 'mask_path': put(field, _from_one(ids))}
            found[field] = {'_id': _id(number, part), 'tags': [], **about}
    if frame.confidence is not None:
        about = {'_cls': 'Heatmap', 'map_path': put(CONFIDENCES, frame.confidence)}
        found[CONFIDENCES] = {'_id': _id(number, 3), 'tags': [], 'range': [0.0, 255.0], **about}
    return found


def _from_one(ids: np.ndarray) -> np.ndarray:
    return np.where(ids == IGNORE, np.uint8(0), ids + np.uint8(1))


def _score(name: str) -> str:
    """The field of a score: `confidence` is the mean of the map of that name."""
    return 'mean_confidence' if name == 'confidence' else name


def _id(number: int, part: int) -> dict[str, str]:
    return {'$oid': f'{(number << 4) + part + 1:024x}'}


def _metadata(labels: LabelSet) -> dict[str, Any]:
    targets = {str(label.id + 1): label.name for label in labels.labels}
    colors = [
        {'intTarget': label.id + 1, 'color': '#{:02x}{:02x}{:02x}'.format(*label.color)}
        for label in labels.labels
    ]
    return {
        'version': VERSION,
        'name': MARK,
        'media_type': 'image',
        'tags': [],
        'info': {'written_by': MARK, 'label_set': labels.name},
        'app_config': {'color_scheme': {'default_mask_targets_colors': colors}},
        'classes': {},
        'default_classes': [],
        'mask_targets': {},
        'default_mask_targets': targets,
        'skeletons': {},
        'sample_fields': [*_fields()],
        'frame_fields': [],
        'saved_views': [],
        'workspaces': [],
        'annotation_runs': {},
        'brain_methods': {},
        'evaluations': {},
        'runs': {},
    }


def _fields() -> Iterator[dict[str, Any]]:
    """The fields of a sample, those that FiftyOne gives to every data set first."""
    yield _field('id', 'ObjectId', db_field='_id')
    yield _field('filepath', 'String')
    yield _list('tags')
    size = ('size_bytes', 'width', 'height', 'num_channels')
    of_image = [_field('mime_type', 'String'), *(_field(name, 'Int') for name in size)]
    yield _embedded('metadata', 'metadata.ImageMetadata', of_image)
    for name in ('created_at', 'last_modified_at'):
        yield _field(name, 'DateTime', read_only=True)
    for name in TEXTS:
        yield _field(name, 'String')
    yield _field('stamp_ns', 'Int')
    for name in SCORES:
        yield _field(_score(name), 'Float')
    for name, kind, pixels, path, more in (
        (MASKS, 'Segmentation', 'mask', 'mask_path', []),
        (LABELS, 'Segmentation', 'mask', 'mask_path', []),
        (CONFIDENCES, 'Heatmap', 'map', 'map_path', [_list('range', 'HeatmapRange', 'Float')]),
    ):
        inside = [
            _field('id', 'ObjectId', db_field='_id'),
            _list('tags'),
            _field(pixels, 'Array'),
            _field(path, 'String'),
            *more,
        ]
        yield _embedded(name, f'labels.{kind}', inside)


def _list(name: str, kind: str = 'List', of: str = 'String') -> dict[str, Any]:
    return _field(name, kind) | {'subfield': f'fiftyone.core.fields.{of}Field'}


def _embedded(name: str, kind: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    about = {'embedded_doc_type': f'fiftyone.core.{kind}', 'fields': fields}
    return _field(name, 'EmbeddedDocument') | about


def _field(
    name: str, kind: str, *, db_field: str | None = None, read_only: bool = False
) -> dict[str, Any]:
    now = datetime.now(timezone.utc).isoformat(timespec='milliseconds').replace('+00:00', 'Z')
    return {
        'name': name,
        'ftype': f'fiftyone.core.fields.{kind}Field',
        'embedded_doc_type': None,
        'subfield': None,
        'fields': [],
        'db_field': db_field or name,
        'description': None,
        'info': None,
        'read_only': read_only,
        'created_at': {'$date': now},
    }


def _why_not(folder: Path) -> str:
    others = {path.name for path in folder.iterdir()} - {METADATA, SAMPLES, DATA, FIELDS}
    if others:
        return f'it holds {min(others)}'
    content = read_json(folder / METADATA)
    info = content.get('info') if isinstance(content, dict) else None
    is_ours = isinstance(info, dict) and info.get('written_by') == MARK
    return '' if is_ours else f'its {METADATA} was not written by {MARK}'


DATASET = Kind('a data set for FiftyOne', _why_not)
