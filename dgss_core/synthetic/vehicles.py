"""Cars, vans, trucks, buses and trams: side profiles extruded to their width."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from dgss_core.synthetic.classes import BUS, CAR, TRAIN, TRUCK
from dgss_core.synthetic.noise import Random, rgbe, tint
from dgss_core.synthetic.projection import unit_normals
from dgss_core.synthetic.raster import Face
from dgss_core.synthetic.texture import TRANSPARENT, PaintedLater, Texture

PAINT = [
    (28, 29, 32), (92, 95, 100), (168, 171, 174), (222, 222, 220), (130, 26, 30), (28, 48, 98),
    (52, 74, 62), (176, 140, 92), (60, 62, 66), (196, 88, 30), (96, 140, 170), (200, 200, 204),
]  # fmt: skip
GLASS = (46, 56, 64)
_SCALE = 40
"""Texels per metre of a side."""

# Width in metres; per corner of the outline: x from the rear, z, and the sheet that starts there.
_OUTLINES = {
    'sedan': (1.78, [(0, 0.3, 'rear'), (0.02, 0.92, 'body'), (0.75, 1.0, 'glass'),
                     (1.5, 1.42, 'body'), (2.7, 1.43, 'glass'), (3.5, 0.98, 'body'),
                     (4.5, 0.8, 'front'), (4.6, 0.3, None)]),
    'hatch': (1.74, [(0, 0.32, 'rear'), (0.05, 0.98, 'glass'), (0.5, 1.46, 'body'),
                     (2.3, 1.5, 'glass'), (3.1, 1.0, 'body'), (3.9, 0.82, 'front'),
                     (4.0, 0.32, None)]),
    'suv': (1.88, [(0, 0.38, 'rear'), (0.04, 1.1, 'glass'), (0.4, 1.66, 'body'),
                   (2.6, 1.7, 'glass'), (3.3, 1.16, 'body'), (4.3, 1.02, 'front'),
                   (4.45, 0.38, None)]),
    'van': (2.0, [(0, 0.36, 'rear'), (0.06, 2.2, 'body'), (3.8, 2.3, 'glass'),
                  (4.5, 1.3, 'body'), (5.2, 1.05, 'front'), (5.3, 0.36, None)]),
    'truck': (2.45, [(0, 0.6, 'rear'), (0.01, 3.5, 'body'), (6.0, 3.5, 'gap'), (6.05, 2.9, 'body'),
                     (7.3, 2.9, 'glass'), (7.7, 1.7, 'front'), (7.8, 0.5, None)]),
    'bus': (2.55, [(0, 0.4, 'rear'), (0.03, 3.1, 'body'), (11.6, 3.1, 'front'),
                   (11.8, 0.4, None)]),
    'tram': (2.5, [(0, 0.3, 'rear'), (0.5, 3.4, 'body'), (21.5, 3.4, 'front'), (22, 0.3, None)]),
}  # fmt: skip
_LABELS = {'truck': TRUCK, 'bus': BUS, 'tram': TRAIN}


@dataclass(frozen=True)
class Vehicle:
    """Mesh of one vehicle; `outline` (n, 2): x from the rear end and z of its profile, metres."""

    kind: str
    label: int
    width: float
    length: float
    height: float
    outline: np.ndarray
    side: Texture
    sheets: tuple[Texture, ...]

    def placed(self, at: np.ndarray, forward: np.ndarray, right: np.ndarray) -> 'PlacedVehicle':
        """It with its rear end at `at` (3,), along the axes `forward` and `right` (3,)."""
        half, up = right * self.width / 2, np.array([0, 0, 1.0])
        nose, height = forward * self.length, up * self.height
        sides = {}
        for facing in (-1, 1):
            edge = at + half * facing
            top = edge + height
            corners = np.array([top, top + nose, edge + nose, edge])
            sides[facing] = Face(corners, self.side, self.label, right * facing)
        points = at + self.outline[:, :1] * forward + self.outline[:, 1:] * up
        a, b = points[:-1], points[1:]
        normals = unit_normals(b - a, right)
        corners = np.stack([b - half, b + half, a + half, a - half], 1)
        parts = zip(corners, self.sheets, normals, strict=True)
        sheets = [Face(c, paint, self.label, normal) for c, paint, normal in parts]
        low = at + forward * 0.1 + up * self.outline[0, 1]
        under = self._undersides(low, nose, half * 0.9)
        footprint = np.array([at - half, at + half, at + half + nose, at - half + nose])
        return PlacedVehicle(at, right, sides, sheets, a, normals, under, footprint[:, :2])

    def _undersides(self, low: np.ndarray, nose: np.ndarray, half: np.ndarray) -> list[Face]:
        drop = np.array([0, 0, 1.0]) * (self.outline[0, 1] - 0.12)
        return [
            Face(
                np.array([end - half, end + half, end + half - drop, end - half - drop]),
                (14, 14, 15), self.label, (-1, 0, 0),
            )
            for end in (low, low + nose * 0.96)
        ]  # fmt: skip


class PlacedVehicle(NamedTuple):
    """The faces of a vehicle that stands somewhere.

    `at` (3,): the middle of its rear end on the ground, (s, y, z) in metres. `right` (3,): unit
    vector to its right. `sides`: by the side they face, -1 left, 1 right. `starts`, `normals`
    (n, 3): of its sheets. `footprint` (4, 2): (s, y) in metres.
    """

    at: np.ndarray
    right: np.ndarray
    sides: dict[int, Face]
    sheets: list[Face]
    starts: np.ndarray
    normals: np.ndarray
    undersides: list[Face]
    footprint: np.ndarray

    def faces(self, camera: np.ndarray, detailed: bool) -> list[Face]:
        """Those that a camera at (s, y, z) sees. Without `detailed`, no roof and no bonnet."""
        side = self.sides[1 if (camera - self.at) @ self.right > 0 else -1]
        seen = (self.normals * (camera - self.starts)).sum(1) > 0
        if not detailed:
            seen &= np.abs(self.normals[:, 2]) <= 0.9
        return [side, *(self.sheets[i] for i in np.flatnonzero(seen)), *self.undersides]


def make(rng: Random, kind: str) -> Vehicle:
    """A vehicle of `kind`, a key of `_OUTLINES`, in a random colour."""
    width, corners = _OUTLINES[kind]
    outline = np.array([corner[:2] for corner in corners])
    paint = tint(rng, PAINT[rng.integers(len(PAINT))], 8)
    second = paint
    if kind in ('bus', 'tram', 'truck'):
        paint = tint(rng, rng.uniform(40, 225, 3), 5)
        second = tint(rng, rng.uniform(60, 230, 3), 5)
    parts = [str(corner[2]) for corner in corners[:-1]]
    sheets = tuple(PaintedLater(partial(_sheet, part, kind, paint, second)) for part in parts)
    side = PaintedLater(partial(_side, kind, outline, paint, second))
    height = outline[:, 1].max()
    label = _LABELS.get(kind, CAR)
    return Vehicle(kind, label, width, outline[-1, 0], height, outline, side, sheets)


def _sheet(part: str, kind: str, paint: np.ndarray, second: np.ndarray) -> Texture:
    image = np.empty((48, 64, 3), np.float32)
    light = np.zeros((48, 64), np.uint8)
    image[:] = paint
    image *= np.linspace(1.06, 0.92, 48)[:, None, None]
    if part == 'glass':
        image[3:46, 5:59] = GLASS
        image[3:46, 5:59] *= np.linspace(1.7, 0.8, 43)[:, None, None]
    elif part == 'gap':
        image[:] = second
    elif part in ('rear', 'front'):
        _end(image, light, part, kind)
    return Texture(rgbe(image, light))


def _end(image: np.ndarray, light: np.ndarray, part: str, kind: str) -> None:
    tall = kind in ('van', 'truck', 'bus', 'tram')
    y = 34 if tall else 10
    if tall and not (kind == 'truck' and part == 'rear'):
        image[5:22, 6:58] = GLASS
        image[5:22, 6:58] *= np.linspace(1.6, 0.8, 17)[:, None, None]
    image[38:, :] *= 0.35
    if part == 'front':
        image[y + 4 : y + 10, 20:44] = (24, 24, 26)
    lamp = (206, 26, 22) if part == 'rear' else (246, 242, 226)
    size = (5, 7) if tall else (11, 10)
    for x in (3, 61 - size[0]):
        image[y : y + size[1], x : x + size[0]] = lamp
        light[y + 1 : y + size[1] - 1, x + 1 : x + size[0] - 1] = 190 if part == 'rear' else 255
    image[28:34, 24:40] = (220, 220, 212)
    if kind == 'bus' and part == 'front':
        cv2.rectangle(image, (16, 1), (48, 4), (230, 160, 40), -1)
        light[1:5, 16:48] = 160


def _side(kind: str, outline: np.ndarray, paint: np.ndarray, second: np.ndarray) -> Texture:
    length, height = outline[-1, 0], outline[:, 1].max()
    w, h = int(length * _SCALE), int(height * _SCALE)
    image = np.empty((h, w, 3), np.float32)
    image[:] = paint
    image *= np.linspace(1.1, 0.78, h)[:, None, None]
    labels = np.full((h, w), TRANSPARENT, np.uint8)
    pixels = np.round(np.column_stack([outline[:, 0], height - outline[:, 1]]) * _SCALE)
    pixels = pixels.astype(np.int32)
    label = _LABELS.get(kind, CAR)
    cv2.fillPoly(labels, [pixels], label)
    light = np.zeros((h, w), np.uint8)
    if kind in ('bus', 'tram'):
        _coach(image, light, second)
    elif kind == 'truck':
        image[:, : int(6.05 * _SCALE)] = second
        image[h - int(1.0 * _SCALE) :, : int(6.05 * _SCALE)] = (40, 40, 42)
        image[int(0.8 * _SCALE) : int(1.7 * _SCALE), -50:-22] = GLASS
    else:
        _cabin(image, outline, height, kind)
    rail = kind == 'tram'
    radius = 0.3 if rail else 0.5 if kind in ('truck', 'bus') else 0.33
    spots = (0.19, 0.8) if not rail else (0.12, 0.2, 0.8, 0.88)
    for spot in spots:
        at = round(spot * length * _SCALE), round((height - radius) * _SCALE)
        size = round(radius * _SCALE)
        for r, tone in ((size + 2, 16), (size, 30), (int(size * 0.62), 128), (size // 4, 60)):
            cv2.circle(image, at, r, (tone, tone, tone + 2), -1)
        cv2.circle(labels, at, size, label, -1)
    image[labels == TRANSPARENT] = paint
    return Texture(rgbe(image, light), labels)


def _cabin(image: np.ndarray, outline: np.ndarray, height: float, kind: str) -> None:
    belt = 1.3 if kind == 'van' else outline[1, 1] + 0.03
    roof = [p for p in outline if p[1] > belt + 0.05]
    first, last = roof[0], roof[-1]
    rear = max(0.25, first[0] - (0.35 if kind != 'van' else -2.4))
    front = last[0] + 0.55
    corners = [(rear, belt), (first[0] + 0.12, first[1] - 0.1), (last[0], last[1] - 0.1),
               (front, belt)]  # fmt: skip
    if kind == 'van':
        corners[1] = (rear, first[1] - 0.3)
    points = np.round([(x * _SCALE, (height - z) * _SCALE) for x, z in corners]).astype(np.int32)
    cv2.fillPoly(image, [points], GLASS)
    paint = image[-12, image.shape[1] // 2].tolist()
    for x in (0.5 * (first[0] + last[0]), last[0] + 0.1):
        column = round(x * _SCALE)
        top = round((height - first[1]) * _SCALE)
        cv2.line(image, (column, top), (column, round((height - belt) * _SCALE)), paint, 3)
        dark = [c * 0.6 for c in paint]
        cv2.line(image, (column, round((height - belt) * _SCALE)),
                 (column, round((height - 0.4) * _SCALE)), dark, 1)  # fmt: skip
    image[-round(0.42 * _SCALE) :] *= 0.55


def _coach(image: np.ndarray, light: np.ndarray, second: np.ndarray) -> None:
    h, w = light.shape
    image[int(0.62 * h) : int(0.8 * h)] = second
    top, low = int(0.16 * h), int(0.52 * h)
    for x in range(12, w - 40, 56):
        image[top:low, x : x + 50] = GLASS
        light[top:low, x : x + 50] = 36
    for x in (int(0.12 * w), int(0.5 * w), int(0.86 * w)):
        image[top : int(0.86 * h), x : x + 44] = (58, 66, 72)
        image[top : int(0.86 * h), x + 21 : x + 23] = 20
    image[int(0.88 * h) :] *= 0.5
