"""A folder of bags for Foxglove, one for each drive, with the topics of the node."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dgss_core.bags import FRAME_ID, IMAGE_TOPIC, BagRecorder
from dgss_core.bags.interfaces import sibling
from dgss_core.bags.messages import (
    cdr,
    header_message,
    image_message,
    jpeg_message,
    number_message,
    png_message,
    text_message,
)
from dgss_core.bags.recorder import BAG
from dgss_core.evaluation.exports.frames import Drive, Shown
from dgss_core.evaluation.exports.written import listed, write_list
from dgss_core.evaluation.pictures import error_indices, error_palette
from dgss_core.files import replacing_folder
from dgss_core.images.paint import colorize, overlay
from dgss_core.labels import LabelSet

FOLDER = 'foxglove'
NODE = '/dgss'
CONDITION, CLASSES = sibling(IMAGE_TOPIC, 'condition'), f'{NODE}/labels'


def write_bags(folder: Path, drives: Iterable[Drive], labels: LabelSet) -> None:
    """Write a bag for each drive; an earlier folder of this kind is replaced.

    `/dgss/mask` and the topics beside it are those of the node, and `/camera/labels` are the
    labels, so that `dgss evaluate` takes such a bag too. Raises DgssError for a folder of another
    kind.
    """
    with replacing_folder(folder, BAGS) as staging:
        names = []
        for drive in drives:
            names.append(drive.name)
            with BagRecorder(staging / drive.name, latched={CONDITION, CLASSES}) as recorder:
                condition = None
                for frame in drive.frames:
                    entries = [*_entries(frame, labels)]
                    if condition is None:
                        entries.append((CLASSES, text_message(json.dumps(labels.to_dict()))))
                    if frame.condition != condition:
                        condition = frame.condition
                        entries.insert(0, (CONDITION, text_message(condition)))
                    for topic, message in entries:
                        recorder.record(topic, message.__msgtype__, frame.stamp_ns, cdr(message))
        write_list(staging, names)


def _entries(frame: Shown, labels: LabelSet) -> Iterator[tuple[str, Any]]:
    """Topic and message of everything that belongs to a frame."""
    header = header_message(frame.stamp_ns, FRAME_ID)
    yield f'{IMAGE_TOPIC}/compressed', jpeg_message(header, frame.image)
    yield f'{NODE}/mask', image_message(header, frame.mask, 'mono8')
    if frame.confidence is not None:
        yield f'{NODE}/confidence', image_message(header, frame.confidence, 'mono8')
    painted = overlay(frame.image, frame.mask, labels)
    yield f'{NODE}/overlay/compressed', jpeg_message(header, painted)
    yield f'{NODE}/color_mask/compressed', png_message(header, colorize(frame.mask, labels))
    if frame.labels is not None:
        yield sibling(IMAGE_TOPIC, 'labels'), image_message(header, frame.labels, 'mono8')
        colors = colorize(frame.labels, labels)
        yield f'{sibling(IMAGE_TOPIC, "color_labels")}/compressed', png_message(header, colors)
        errors = error_palette(labels.colors)[error_indices(frame.mask, frame.labels)]
        yield f'{NODE}/error/compressed', png_message(header, errors)
    for name, value in frame.facts.items():
        yield f'{NODE}/scores/{name}', number_message(value)


def _why_no_bag(path: Path) -> str:
    return BAG.why_not(path) if path.is_dir() else 'no bag'


BAGS = listed('a folder of bags for Foxglove', _why_no_bag)
