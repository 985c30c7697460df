"""Images of masks: colours, overlays, a legend, a contact sheet."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np

from dgss_core.labels import LabelSet

PAPER = (250, 250, 248)
INK = (34, 38, 46)
MUTED = (118, 124, 134)
TALLEST = 4
"""Height of the tallest thumbnail or cell, in widths."""
GAP = 10
TEXT_HEIGHT = 22
SWATCH = 14
LETTERS = str.maketrans({'ß': 'ss', 'æ': 'ae', 'Æ': 'AE', 'ø': 'o', 'Ø': 'O', 'ł': 'l', 'Ł': 'L'})
"""Letters that are not a plain letter with a mark."""
FONT, SCALE, SHARPER = cv2.FONT_HERSHEY_DUPLEX, 0.45, 4


def colorize(mask: np.ndarray, label_set: LabelSet) -> np.ndarray:
    """Colour a mask uint8 (H, W) as RGB uint8 (H, W, 3); pixels without a class are black."""
    return cv2.applyColorMap(mask, label_set.colors[:, None])


def overlay(
    image: np.ndarray, mask: np.ndarray, label_set: LabelSet, opacity: float = 0.5
) -> np.ndarray:
    """Blend the colours of a mask over an RGB image of its size.

    Pixels without a class keep the image. `opacity`: 0 shows only the image, 1 only the colours.
    Raises ValueError for an opacity outside 0 to 1.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f'opacity must be 0 to 1, not {opacity}')
    blend = cv2.addWeighted(image, 1 - opacity, colorize(mask, label_set), opacity, 0)
    unlabelled = (mask >= len(label_set)).astype(np.uint8)
    return cv2.copyTo(image, unlabelled, blend)


def fitted(*, width: int, height: int, to_width: int) -> tuple[int, int]:
    """(width, height) of an image at `to_width` pixels, or narrower if it is a tall strip.

    No side exceeds `TALLEST * to_width`.
    """
    scale = min(to_width / width, TALLEST * to_width / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def thumbnail(image: np.ndarray, to_width: int) -> np.ndarray:
    """An image, uint8 (H, W, 3), in the size of `fitted`."""
    width, height = fitted(width=image.shape[1], height=image.shape[0], to_width=to_width)
    # Exact halves take a fraction of the time of areas, and look the same.
    while image.shape[1] >= 2 * width and image.shape[0] >= 2 * height:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
    # Less than halved: a linear filter reads every pixel too.
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def legend(label_set: LabelSet, width: int = 960) -> np.ndarray:
    """A swatch and a name per class, wrapped to `width` pixels, RGB uint8 (H, width, 3)."""
    spans = [SWATCH + 6 + _text_width(name) + 2 * GAP for name in label_set.names]
    places, x, y = [], GAP, 0
    for span in spans:
        if x + span > width and x > GAP:
            x, y = GAP, y + TEXT_HEIGHT
        places.append((x, y))
        x += span
    strip = _paper(width=width, height=places[-1][1] + TEXT_HEIGHT)
    for label, (x, y) in zip(label_set.labels, places, strict=True):
        top = y + (TEXT_HEIGHT - SWATCH) // 2
        strip[top : top + SWATCH, x : x + SWATCH] = label.color
        _write(strip, label.name, x + SWATCH + 6, y)
    return strip


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    columns: Sequence[str] = (),
    captions: Sequence[str] = (),
    label_set: LabelSet | None = None,
    cell_width: int = 320,
) -> np.ndarray:
    """Arrange RGB images in a grid, RGB uint8 (H, W, 3).

    `columns`: a title above each column; `captions`: a line above each row. All cells have the
    shape of the first image at `cell_width` pixels; other shapes are scaled to fit. `label_set`
    adds its legend at the bottom. Raises ValueError for an empty grid, and for a number of titles
    or captions that differs from the number of columns or rows.
    """
    count = max(map(len, rows), default=0)
    if not count:
        raise ValueError('a contact sheet needs at least one image')
    if len(columns) not in (0, count) or len(captions) not in (0, len(rows)):
        raise ValueError(f'{len(rows)} rows of {count} need as many captions and column titles')
    first = next(row[0] for row in rows if len(row))
    size = fitted(width=first.shape[1], height=first.shape[0], to_width=cell_width)
    cell = (cell_width, size[1])
    width = GAP + count * (cell_width + GAP)
    bands = [_paper(width=width, height=GAP)]
    if columns:
        bands.append(_titles(columns, cell_width, width))
    for index, row in enumerate(rows):
        if captions:
            band = _paper(width=width, height=TEXT_HEIGHT)
            _write(band, captions[index], GAP, 0, MUTED)
            bands.append(band)
        bands.append(_row(row, cell, width))
    if label_set is not None:
        bands.append(legend(label_set, width))
    return np.vstack([*bands, _paper(width=width, height=GAP)])


def _titles(columns: Sequence[str], cell_width: int, width: int) -> np.ndarray:
    band = _paper(width=width, height=TEXT_HEIGHT)
    for index, title in enumerate(columns):
        _write(band, title, GAP + index * (cell_width + GAP), 0)
    return band


def _row(row: Sequence[np.ndarray], cell: tuple[int, int], width: int) -> np.ndarray:
    """`cell`: (width, height) in pixels."""
    band = _paper(width=width, height=cell[1] + GAP)
    for index, image in enumerate(row):
        scale = min(cell[0] / image.shape[1], cell[1] / image.shape[0])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        x = GAP + index * (cell[0] + GAP) + (cell[0] - size[0]) // 2
        y = (cell[1] - size[1]) // 2
        band[y : y + size[1], x : x + size[0]] = small
    return band


def _paper(*, width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)


def _plain(text: str) -> str:
    """A text in the letters of the stroke font of OpenCV, which has ASCII only."""
    parts = unicodedata.normalize('NFKD', text.translate(LETTERS))
    letters = (letter for letter in parts if not unicodedata.combining(letter))
    return ''.join(letter if letter.isascii() else '?' for letter in letters)


def _text_width(text: str) -> int:
    return cv2.getTextSize(_plain(text), FONT, SCALE, 1)[0][0]


def _write(band: np.ndarray, text: str, x: int, y: int, ink: tuple[int, ...] = INK) -> None:
    """Write one line into `band`, centred in TEXT_HEIGHT rows from row `y`, cut at the edge."""
    room = band[y : y + TEXT_HEIGHT, x:]
    height, width = room.shape[:2]
    # The stroke font of OpenCV is smooth only if it is drawn large and then reduced.
    large = np.zeros((height * SHARPER, width * SHARPER), np.uint8)
    origin = (0, round((TEXT_HEIGHT * 0.5 + 5) * SHARPER))
    cv2.putText(large, _plain(text), origin, FONT, SCALE * SHARPER, 255, SHARPER, cv2.LINE_AA)
    cover = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)[..., None] / 255
    room[:] = np.rint(room * (1 - cover) + np.array(ink) * cover)
