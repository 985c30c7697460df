"""The predictions of one predictor on one set of frames, in a file that is resumed frame by frame.

A frame takes some 20 KB: mask and confidence at the size of the network as PNG, and a thumbnail.
SQLite writes each frame whole or not at all, also when the process is killed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from dgss_core.documents import load_json
from dgss_core.errors import DgssError, cause, read_head
from dgss_core.evaluation.flicker import FlickerCounts
from dgss_core.images.compressed import decode_pixels, encode_jpeg, encode_png
from dgss_core.images.paint import thumbnail
from dgss_core.images.view import View
from dgss_core.labels import IGNORE
from dgss_core.runtime.prediction import Prediction

THUMBNAIL = 480
"""Width of a thumbnail in pixels."""
SUFFIX = '.sqlite'
APPLICATION = 0x64677373
"""The mark of our files in SQLite's header: 'dgss'."""

_TABLES = f"""
PRAGMA application_id = {APPLICATION};
CREATE TABLE about (predictor TEXT NOT NULL);
CREATE TABLE frames (
    name TEXT PRIMARY KEY, height INT, width INT, mask BLOB, confidence BLOB, thumbnail BLOB,
    certainty REAL, seconds REAL, descriptors TEXT, region TEXT
) WITHOUT ROWID;
CREATE TABLE flicker (name TEXT PRIMARY KEY, counts TEXT) WITHOUT ROWID;
"""

_NUMBER, _PLANE, _TEXT = (float, int, type(None)), (bytes, type(None)), (str, type(None))
_KINDS: tuple[Any, ...] = (int, int, bytes, _PLANE, bytes, _NUMBER, _NUMBER, str, _TEXT)
"""Of the columns of a frame, in the order of `PredictionStore.get`."""

Region = tuple[int, int, int, int]
"""(x, y, width, height) in pixels."""


@dataclass(frozen=True)
class Predicted:
    """The answer for one frame.

    `mask`, `confidence`: uint8 (h, w), at the size of the network; `confidence` is None if the
    predictor gives none. `size`: (height, width) of the image. `seconds`: taken by the network.
    `descriptors`: of the frame, as `runtime.monitoring.domain_shift.describe` gives them.
    `region`: (x, y, width, height) in pixels of the image, which alone was segmented; None for
    the whole image. The planes cover the image, and tell nothing outside the region.
    """

    mask: np.ndarray
    confidence: np.ndarray | None
    size: tuple[int, int]
    seconds: float | None = None
    descriptors: dict[str, list[float]] = field(default_factory=dict)
    region: Region | None = None

    def inside(self, plane: np.ndarray) -> np.ndarray:
        """The part (h, w) of a plane (H, W) that lies in the region; a view of it.

        Raises DgssError if the region does not lie within the image.
        """
        if self.region is None:
            return plane
        height, width = self.size
        x, y, w, h = View(roi=self.region).region(width=width, height=height)
        rows, columns = plane.shape
        # A pixel of another size counts where its centre lies in the region.
        top, bottom, left, right = (
            round(edge * wanted / given)
            for edge, wanted, given in (
                *((y, rows, height), (y + h, rows, height)),
                *((x, columns, width), (x + w, columns, width)),
            )
        )
        return plane[top:bottom, left:right]

    def without_outside(self, labels: np.ndarray) -> np.ndarray:
        """Labels, uint8 (H, W), that are 255 outside the region; the same array without one."""
        if self.region is None:
            return labels
        kept = np.full_like(labels, IGNORE)
        self.inside(kept)[...] = self.inside(labels)
        return kept

    def at_size(self, height: int, width: int) -> Prediction:
        """Mask and confidence at another size, by the nearest pixel; 255 without a confidence."""
        confidence = np.full_like(self.mask, 255) if self.confidence is None else self.confidence
        return Prediction(self.mask, confidence).resized(height=height, width=width)


@dataclass(frozen=True)
class Stored:
    """A frame as it is stored. `certainty`: mean confidence, 0 to 1, in the `region` of
    `Predicted`. `thumbnail`: a JPEG.
    """

    size: tuple[int, int]
    mask: bytes
    confidence: bytes | None
    thumbnail: bytes
    certainty: float | None
    seconds: float | None
    descriptors: dict[str, list[float]]
    region: Region | None = None

    def unpacked(self) -> Predicted:
        """The answer, as it was put."""
        mask, confidence = (
            None if plane is None else decode_pixels(plane, cv2.IMREAD_UNCHANGED)
            for plane in (self.mask, self.confidence)
        )
        assert mask is not None
        return Predicted(mask, confidence, self.size, self.seconds, self.descriptors, self.region)


def is_store(path: Path) -> bool:
    """Whether a file was written by `PredictionStore`, by the mark in its header."""
    # https://www.sqlite.org/fileformat.html, section 1.3: the application id is at byte 68.
    return read_head(path)[68:72] == APPLICATION.to_bytes(4, 'big')


class PredictionStore:
    """A file of predictions; a context manager, used by one thread at a time.

    `predictor`: one line that names what predicts, under which options, on which frames. Raises
    DgssError if the file belongs to another predictor, is damaged, or cannot be written.
    """

    def __init__(self, path: Path, predictor: str) -> None:
        self.path = path
        # A path in it may hold bytes that are no UTF-8, which SQLite takes for no text.
        predictor = predictor.encode(errors='backslashreplace').decode()
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not path.exists() or path.stat().st_size == 0
            self._database = sqlite3.connect(path, check_same_thread=False)
        with ExitStack() as unless_ours, _told(path):
            unless_ours.callback(self._database.close)
            if is_new:
                self._create(predictor)
            if (found := self._about()) != predictor:
                raise DgssError(
                    f'{path} holds predictions of {found!r}; name another folder for those of '
                    f'{predictor!r}.'
                )
            self._add_region()
            unless_ours.pop_all()

    def __enter__(self) -> PredictionStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()

    def names(self) -> set[str]:
        """The frames that are predicted."""
        with _told(self.path):
            return {name for (name,) in self._database.execute('SELECT name FROM frames')}

    def put(self, name: str, image: np.ndarray, answer: Predicted) -> None:
        """Write the answer for a frame; its thumbnail is made of `image`, RGB uint8 (H, W, 3)."""
        confidence = answer.confidence
        row = (
            name,
            *answer.size,
            encode_png(answer.mask),
            None if confidence is None else encode_png(confidence),
            encode_jpeg(thumbnail(image, THUMBNAIL), 85),
            None if confidence is None else float(answer.inside(confidence).mean()) / 255,
            answer.seconds,
            json.dumps(answer.descriptors),
            answer.region and json.dumps(answer.region),
        )
        with _told(self.path), self._database:
            places = ','.join('?' * len(row))
            self._database.execute(f'INSERT OR REPLACE INTO frames VALUES ({places})', row)

    def get(self, name: str) -> Stored:
        """A frame of `names`; KeyError for any other."""
        with _told(self.path):
            row = self._database.execute(
                'SELECT height, width, mask, confidence, thumbnail, certainty, seconds, '
                'descriptors, region FROM frames WHERE name = ?',
                (name,),
            ).fetchone()
        if row is None:
            raise KeyError(name)
        if not all(isinstance(value, kinds) for value, kinds in zip(row, _KINDS, strict=True)):
            raise self._damaged()
        *size, mask, confidence, thumbnail, certainty, seconds, described, segmented = row
        descriptors = load_json(described, str(self.path))
        if not isinstance(descriptors, dict):
            raise self._damaged()
        region = segmented and tuple(load_json(segmented, str(self.path)))
        return Stored(
            tuple(size), mask, confidence, thumbnail, certainty, seconds, descriptors, region
        )

    def put_flicker(self, flickers: Mapping[str, Mapping[int, FlickerCounts]]) -> None:
        """Keep what was computed of frames, by name and stride: it takes as long as a network.

        What was kept before is replaced.
        """
        rows = [
            (name, json.dumps({stride: astuple(one) for stride, one in counts.items()}))
            for name, counts in flickers.items()
        ]
        with _told(self.path), self._database:
            self._database.execute('DELETE FROM flicker')
            self._database.executemany('INSERT OR REPLACE INTO flicker VALUES (?,?)', rows)

    def flicker(self) -> dict[str, dict[int, FlickerCounts]]:
        """What was kept."""
        with _told(self.path):
            rows = self._database.execute('SELECT name, counts FROM flicker').fetchall()
        try:
            return {
                name: {
                    int(stride): FlickerCounts(*map(int, counts))
                    for stride, counts in load_json(text, str(self.path)).items()
                }
                for name, text in rows
            }
        except (TypeError, ValueError, AttributeError) as error:
            raise self._damaged() from error

    def _damaged(self) -> DgssError:
        return DgssError(f'{self.path} is damaged; remove it to predict its frames again.')

    def _create(self, predictor: str) -> None:
        """Make the tables as a whole, or find them made by another process at the same time."""
        self._database.execute('BEGIN IMMEDIATE')
        if not self._database.execute('SELECT 1 FROM sqlite_master').fetchone():
            for statement in _TABLES.split(';'):
                self._database.execute(statement)
            self._database.execute('INSERT INTO about VALUES (?)', (predictor,))
        self._database.execute('COMMIT')

    def _add_region(self) -> None:
        """Add the column that a file of an earlier release lacks, if no other process has."""
        if self._has_region():
            return
        self._database.execute('BEGIN IMMEDIATE')
        if not self._has_region():
            self._database.execute('ALTER TABLE frames ADD COLUMN region TEXT')
        self._database.execute('COMMIT')

    def _has_region(self) -> bool:
        columns = {name for (_, name, *_) in self._database.execute('PRAGMA table_info(frames)')}
        return not columns or 'region' in columns

    def _about(self) -> str:
        ours = self._database.execute('PRAGMA application_id').fetchone() == (APPLICATION,)
        # A view in the place of a table could run for ever.
        kinds = self._database.execute('SELECT DISTINCT type FROM sqlite_master').fetchall()
        if not ours or kinds != [('table',)]:
            raise DgssError(f'{self.path} was not written by dgss evaluate; name another folder.')
        return str(self._database.execute('SELECT predictor FROM about').fetchone()[0])


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        advice = 'make room or get the rights there and go on, or name another folder'
        # The disk, its rights and locks raise another class, as does a table that is missing.
        if type(error) is sqlite3.DatabaseError or 'no such' in str(error):
            advice = 'remove it to predict its frames again, or name another folder'
        raise DgssError(f'{path} cannot be used: {cause(error)}; {advice}.') from error
