"""A folder of recordings for Rerun, one for each drive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core.errors import DgssError, one_line, read_head
from dgss_core.evaluation.exports.frames import SCORES, SHIFT, Drive, Shown
from dgss_core.evaluation.exports.written import listed, write_list
from dgss_core.evaluation.pictures import RIGHT, error_indices, error_palette
from dgss_core.files import replacing_folder
from dgss_core.images.compressed import encode_jpeg
from dgss_core.labels import IGNORE, LabelSet

FOLDER, SUFFIX, MAGIC = 'rerun', '.rrd', b'RRF'
APPLICATION = 'dgss evaluate'
CAMERA = 'camera'
OPACITY = 0.6
WRONG_NONE = RIGHT - 1
"""`error_indices` of a pixel without a class."""


def require_rerun() -> Any:
    """The library of Rerun. Raises DgssError where it is missing."""
    try:
        import rerun
    except ImportError as error:
        raise DgssError(
            f'--export rerun needs rerun-sdk ({one_line(error)}); run pip install dgss_ros[rerun].'
        ) from error
    return rerun


def write_recordings(folder: Path, drives: Iterable[Drive], labels: LabelSet) -> None:
    """Write DRIVE.rrd for each drive; an earlier folder of this kind is replaced.

    Times are `stamp` and `frame`, the number of the frame. Raises DgssError for a folder of
    another kind, and without Rerun.
    """
    rr = require_rerun()
    with replacing_folder(folder, RECORDINGS) as staging:
        names = []
        for drive in drives:
            names.append(f'{drive.name}{SUFFIX}')
            recording = rr.RecordingStream(APPLICATION, recording_id=drive.name)
            recording.save(staging / names[-1], default_blueprint=_views(rr, drive))
            recording.send_recording_name(drive.title)
            for place, context in _contexts(rr, labels):
                recording.log(place, context, static=True)
            for frame in drive.frames:
                recording.set_time('frame', sequence=frame.place)
                recording.set_time('stamp', timestamp=np.datetime64(frame.stamp_ns, 'ns'))
                for place, entry in _entries(rr, frame, labels):
                    recording.log(place, entry)
            recording.disconnect()
        write_list(staging, names)


def _entries(rr: Any, frame: Shown, labels: LabelSet) -> Iterator[tuple[str, Any]]:
    jpeg = encode_jpeg(frame.image)
    yield f'{CAMERA}/image', rr.EncodedImage(contents=jpeg, media_type='image/jpeg')
    yield f'{CAMERA}/mask', rr.SegmentationImage(frame.mask, opacity=OPACITY)
    if frame.confidence is not None:
        yield f'{CAMERA}/confidence', rr.Image(frame.confidence, color_model='L')
    if frame.labels is not None:
        yield f'{CAMERA}/labels', rr.SegmentationImage(frame.labels, opacity=OPACITY)
        wrong = error_indices(frame.mask, frame.labels)
        yield f'{CAMERA}/error', rr.SegmentationImage(wrong, opacity=1.0)
    for name, value in frame.facts.items():
        yield f'scores/{name}', rr.Scalars(value)
    yield 'frame', rr.TextLog(f'{frame.name}, {frame.condition}')


def _contexts(rr: Any, labels: LabelSet) -> Iterator[tuple[str, Any]]:
    """The names and colours of the ids, for the masks and for the errors."""

    def info(number: int, name: str, color: Iterable[int]) -> Any:
        return rr.AnnotationInfo(id=number, label=name, color=[*color])

    classes = [info(label.id, label.name, label.color) for label in labels.labels]
    yield CAMERA, rr.AnnotationContext([*classes, info(IGNORE, 'none', (0, 0, 0, 0))])
    palette = error_palette(labels.colors)
    others = {WRONG_NONE: 'no class', RIGHT: 'right', IGNORE: 'unlabelled'}
    errors = [info(number, name, palette[number].tolist()) for number, name in others.items()]
    yield f'{CAMERA}/error', rr.AnnotationContext([*classes, *errors])


def _views(rr: Any, drive: Drive) -> Any:
    """The mask over the image and the confidence, with labels also these and the errors."""
    views = rr.blueprint

    def view(name: str, *parts: str) -> Any:
        places = [f'{CAMERA}/{part}' for part in parts]
        return views.Spatial2DView(origin=CAMERA, contents=places, name=name)

    def plot(name: str, *scores: str) -> Any:
        places = [f'scores/{score}' for score in scores]
        return views.TimeSeriesView(origin='scores', contents=places, name=name)

    with_labels = [view('Labels', 'image', 'labels'), view('Error', 'error')]
    return views.Blueprint(
        views.Vertical(
            views.Grid(
                view('Mask', 'image', 'mask'),
                view('Confidence', 'confidence'),
                *(with_labels if drive.has_labels else ()),
                grid_columns=2,
            ),
            views.Horizontal(
                plot('Scores', *(name for name in SCORES if name != SHIFT)),
                plot('Shift', SHIFT),
                views.TextLogView(origin='frame', name='Frame'),
            ),
            row_shares=[3, 1],
        ),
        collapse_panels=True,
    )


def _why_no_recording(path: Path) -> str:
    return '' if path.is_file() and read_head(path).startswith(MAGIC) else 'no recording'


RECORDINGS = listed('a folder of recordings for Rerun', _why_no_recording)
