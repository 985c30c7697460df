"""Frames, sources of frames, and single files; `dgss_core.inputs` opens any source."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dgss_core.errors import DgssError, cause, link_sentence, missing_error
from dgss_core.images.label_files import decode_ids
from dgss_core.images.stills import decode_still

FIRST_STAMP_NS = 1_700_000_000 * 10**9
"""Stamp of the first frame of a source without a clock; zero would mean 'no stamp' in ROS."""
LINK_TEXT = re.compile(rb'(\.\.?/)+[^\0\n]{1,400}\n?')
"""A link in a place that has no links, where Git and some copies write its target as text."""
FPS = 10.0
"""Frames per second of a source without a clock."""


@dataclass(frozen=True)
class Frame:
    """One camera image.

    `name`: unique within its source and usable as a file name. `image`: RGB uint8 (H, W, 3).
    `stamp_ns`: nanoseconds since the epoch. `labels`: uint8 (H, W) ids, 255 unlabelled.
    `condition`: day, dusk, night, fog, rain or snow, if known. `jpeg`: the file that `image` was
    decoded from, if it is a JPEG that every viewer shows alike.
    """

    name: str
    image: np.ndarray
    stamp_ns: int
    labels: np.ndarray | None = None
    condition: str | None = None
    jpeg: bytes | None = None


OnError = Callable[[str, DgssError], object]
"""Called with the name of a frame that cannot be read, and the reason.

The reason is an `IncompleteError` for what a source promised and does not hold.
"""


@dataclass(frozen=True)
class FrameSource:
    """Frames of one source, read lazily; can be iterated several times.

    `kind`: image, folder, video or bag. `length`: number of frames, None if unknown; for a video
    the promise or an estimate of its container. `note`: a sentence about what lies beside the
    frames and is not read, and is no fault; or ''.
    """

    path: Path
    kind: str
    length: int | None
    open: Callable[[], Iterator[Frame]]
    note: str = ''

    def __iter__(self) -> Iterator[Frame]:
        return self.open()


def read_image(path: Path) -> np.ndarray:
    """Read an image file as RGB uint8 (H, W, 3), turned upright by its EXIF orientation.

    Raises DgssError with the file and the reason if it cannot be read.
    """
    return read_picture(path)[0]


def read_picture(path: Path) -> tuple[np.ndarray, bytes]:
    """An image as `read_image` reads it, and the content of its file."""
    data = _content(path)
    try:
        return decode_still(data, upright=True), data
    except DgssError as error:
        raise DgssError(f'{path} cannot be read: {error}') from error


def read_labels(path: Path) -> np.ndarray:
    """Read a PNG of ids as uint8 (H, W); DgssError as `decode_ids`, with the file."""
    data = _content(path)
    try:
        return decode_ids(data)
    except DgssError as error:
        raise DgssError(f'{path} cannot be read as labels: {error}') from error


def _content(path: Path) -> bytes:
    """The content of a file. Raises DgssError if it cannot be read, or is a link as text."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise missing_error(path, f'{path} cannot be read: {cause(error)}') from error
    if LINK_TEXT.fullmatch(data):
        raise DgssError(link_sentence(path, os.fsdecode(data).strip()))
    return data


def raise_error(name: str, error: DgssError) -> None:
    """An `OnError` that raises at the first frame that cannot be read."""
    raise error


def period_ns(fps: float) -> float:
    """Nanoseconds between two frames; DgssError for a rate that is none."""
    if not 1e-3 <= fps <= 1e6:
        raise DgssError(f'{fps} is not a frame rate; give frames per second above zero.')
    return 1e9 / fps
