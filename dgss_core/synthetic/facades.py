"""Facades of buildings: planned when a street is built, painted when they are first seen."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from dgss_core.synthetic.noise import Random, rgbe, tint
from dgss_core.synthetic.surfaces import BRICK, CONCRETE, DENSITY, PLASTER, brickwork
from dgss_core.synthetic.texture import PaintedLater, Texture

FRAMES = [(232, 230, 224), (70, 62, 56), (190, 180, 165)]
LAMPLIGHT = np.array((150, 126, 88))
CURTAIN = np.array((190, 184, 172))
Step = Callable[[np.ndarray, np.ndarray], object]
"""Draws on the colours (h, w, 3) and on the light (h, w) of a facade."""


def facade(
    rng: Random,
    kind: str,
    noise: np.ndarray,
    *,
    width: float,
    height: float,
    blind: bool = False,
) -> Texture:
    """A facade of `width` x `height` metres, `DENSITY` texels per metre.

    `kind`: 'town', 'house', 'works' or 'office'. `blind`: few windows.
    """
    plan = _Facade(rng, kind, blind, *(max(8, int(m * DENSITY)) for m in (width, height)))
    return PaintedLater(lambda: plan.painted(noise))


class _Window(NamedTuple):
    """A window with its top left at (x, y); a curtain of `drop` texels, and how it shines."""

    x: int
    y: int
    w: int
    h: int
    frame: list[float]
    base: np.ndarray
    gain: float
    drop: int
    tone: float
    shine: int

    def paint(self, image: np.ndarray, light: np.ndarray) -> None:
        x, y, w, h, frame, *_ = self
        rows, columns = slice(y, y + h), slice(x, x + w)
        cv2.rectangle(image, (x - 1, y - 1), (x + w, y + h), frame, -1)
        image[rows, columns] = self.base * self.gain * np.linspace(1.25, 0.75, h)[:, None, None]
        if self.drop:
            image[y : y + self.drop, columns] = CURTAIN * self.tone
        if w > 12:
            cv2.line(image, (x + w // 2, y), (x + w // 2, y + h), frame, 1)
        sill = [c * 0.8 for c in frame]
        cv2.rectangle(image, (x - 2, y + h), (x + w + 1, y + h + 1), sill, -1)
        if self.shine:
            light[rows, columns] = self.shine


class _Facade:
    """The steps by which a facade of w x h texels is painted, with what is random in them."""

    def __init__(self, rng: Random, kind: str, blind: bool, w: int, h: int) -> None:
        self.rng, self.kind, self.blind, self.w, self.h = rng, kind, blind, w, h
        self.steps: list[Step] = []
        self.brick = rng.random() < 0.3 and kind != 'office'
        palette = BRICK if self.brick else CONCRETE if kind in ('works', 'office') else PLASTER
        self.wall = tint(rng, palette[rng.integers(len(palette))], 12)
        self.dirt = rng.integers(0, 256, 2)
        self.frame = tint(rng, FRAMES[rng.integers(3)], 8).tolist()
        self.glass = tint(rng, (70, 84, 98), 12)
        self._floors()
        self._cornice()
        if not blind:
            self._rectangle((0, h - 8), (w, h), [float(c) * 0.7 for c in self.wall])
        del self.rng

    def painted(self, noise: np.ndarray) -> Texture:
        y, x = self.dirt
        repeats = -(-(y + self.h) // noise.shape[0]), -(-(x + self.w) // noise.shape[1])
        dirt = np.tile(noise, repeats)[y : y + self.h, x : x + self.w]
        image = self.wall * (0.84 + 0.3 * dirt[..., None])
        if self.brick:
            brickwork(image, noise)
        light = np.zeros((self.h, self.w), np.uint8)
        for step in self.steps:
            step(image, light)
        image[:, :2] *= 0.8
        image[:, -2:] *= 0.8
        return Texture(rgbe(image, light))

    def _rectangle(
        self, first: tuple[int, int], last: tuple[int, int], color: list[float]
    ) -> None:
        self.steps.append(lambda image, _: cv2.rectangle(image, first, last, color, -1))

    def _floors(self) -> None:
        rng, w, h, blind = self.rng, self.w, self.h, self.blind
        floor = int(rng.uniform(2.7, 3.5) * DENSITY)
        pitch = int(rng.uniform(1.7, 3.4) * DENSITY)
        ww, wh = int(pitch * rng.uniform(0.42, 0.62)), int(floor * rng.uniform(0.45, 0.6))
        if self.kind == 'office':
            ww, wh = pitch - 4, int(floor * 0.62)
        band = rng.random() < 0.5
        lit_share = rng.uniform(0.1, 0.5)
        for level in range(max(1, (h - 8) // floor)):
            top = h - (level + 1) * floor + (floor - wh) // 2
            if band and level:
                self._rectangle((0, h - level * floor), (w, h - level * floor + 2), self.frame)
            if level == 0 and not blind:
                self._ground_floor(floor)
                continue
            for x in range((w % pitch + pitch - ww) // 2, w - ww - 2, pitch):
                if top > 3 and x > 2 and not (blind and rng.random() < 0.85):
                    lit = rng.random() < lit_share
                    self._window((x, top), lit, width=ww, height=wh)

    def _window(self, corner: tuple[int, int], lit: bool, *, width: int, height: int) -> None:
        """Add a window with its top left at `corner` (x, y)."""
        rng, base = self.rng, LAMPLIGHT if lit else self.glass
        gain = rng.uniform(0.6, 1.35)
        if lit:
            gain = rng.uniform(0.55, 1.0)
        drop, tone, shine = 0, 0.0, 0
        if rng.random() < 0.4 and not lit:
            drop = int(height * rng.uniform(0.2, 0.8))
            tone = rng.uniform(0.55, 1)
        if lit:
            shine = int(rng.integers(110, 255))
        window = _Window(*corner, width, height, self.frame, base, gain, drop, tone, shine)
        self.steps.append(window.paint)

    def _ground_floor(self, floor: int) -> None:
        rng, w, h, kind = self.rng, self.w, self.h, self.kind
        shop = kind == 'town' and rng.random() < 0.45
        if shop:
            sign = tint(rng, rng.uniform(30, 220, 3), 5)
            self._rectangle((0, h - floor), (w, h - floor + 12), sign.tolist())
            for x in range(6, w - 30, 52):
                lit = rng.random() < 0.6
                self._window((x, h - floor + 15), lit, width=44, height=floor - 26)
            return
        pitch = int(rng.uniform(2.0, 3.2) * DENSITY)
        door = rng.integers(0, max(1, w // pitch))
        for i, x in enumerate(range(8, w - pitch // 2 - 4, pitch)):
            if i == door:
                doors = [(96, 64, 42), (44, 66, 56), (60, 60, 66), (120, 40, 36)]
                color = tint(rng, doors[i % 4], 10)
                span = 40 if kind == 'works' else 18
                self._rectangle((x - 2, h - 38), (x + span + 1, h), self.frame)
                self._rectangle((x, h - 36), (x + span - 1, h), color.tolist())
            else:
                lit, corner = rng.random() < 0.3, (x, h - int(floor * 0.8))
                self._window(corner, lit, width=pitch // 2, height=int(floor * 0.5))

    def _cornice(self) -> None:
        rng, wall = self.rng, self.wall
        if not (self.kind == 'town' and self.h > 160 and rng.random() < 0.45):
            self.steps.append(partial(_ledge, wall))
            return
        roof = tint(rng, [(92, 58, 48), (70, 72, 78), (110, 72, 56)][rng.integers(3)], 8)
        depth = int(rng.uniform(1.8, 2.8) * DENSITY)
        tiles = roof * (0.8 + 0.25 * rng.random((depth, 1, 1)))
        self.steps.append(partial(_fill, slice(depth), slice(None), tiles))
        for x in range(int(rng.integers(10, 30)), self.w - 26, int(rng.integers(40, 70))):
            self._rectangle((x, depth - 26), (x + 16, depth - 4), [218, 214, 206])
            self._rectangle((x + 2, depth - 23), (x + 14, depth - 5), [66, 76, 88])
        edge = np.minimum(wall * 1.2, 240)
        self.steps.append(partial(_fill, slice(depth, depth + 4), slice(None), edge))


def _fill(
    rows: slice, columns: slice, tone: np.ndarray, image: np.ndarray, light: np.ndarray
) -> None:
    image[rows, columns] = tone


def _ledge(wall: np.ndarray, image: np.ndarray, light: np.ndarray) -> None:
    image[:3] = wall * 0.55
    image[3:8] = np.minimum(wall * 1.18, 245)
    image[8:10] *= 0.75
