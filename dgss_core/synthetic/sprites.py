"""Upright silhouettes: plants, people, bicycles, poles, signs and lights, drawn as textures."""

from dataclasses import dataclass

import cv2
import numpy as np

from dgss_core.synthetic.noise import fractal, rgbe, tint
from dgss_core.synthetic.raster import TRANSPARENT, Texture

POLE, LIGHT, SIGN, PLANT, PERSON, RIDER, MOTORCYCLE, BICYCLE = 5, 6, 7, 8, 11, 12, 17, 18


@dataclass(frozen=True)
class Sprite:
    """A texture that stands upright on the ground, its size in metres."""

    texture: Texture
    width: float
    height: float


class Canvas:
    """Draws shapes in metres (x right of the middle, z up) with a label each."""

    def __init__(self, width: float, height: float, density: int) -> None:
        self.width, self.height, self.density = width, height, density
        shape = int(height * density), int(width * density)
        self.image = np.zeros((*shape, 3), np.float32)
        self.light = np.zeros(shape, np.uint8)
        self.labels = np.full(shape, TRANSPARENT, np.uint8)

    def _pixel(self, x: float, z: float) -> tuple[int, int]:
        d = self.density
        return round((x + self.width / 2) * d * 8 - 4), round((self.height - z) * d * 8 - 4)

    def _fill(self, draw, color, label, emission) -> None:
        color = [float(c) for c in color]
        for target, value in (
            (self.image, color), (self.labels, label), (self.light, emission),
        ):  # fmt: skip
            draw(target, value)

    def ellipse(self, x, z, rx, rz, color, label, emission=0, thickness=-1) -> None:
        axes = round(rx * self.density * 8), round(rz * self.density * 8)
        at = self._pixel(x, z)
        self._fill(
            lambda t, v: cv2.ellipse(t, at, axes, 0, 0, 360, v, thickness, cv2.LINE_8, 3),
            color, label, emission,
        )  # fmt: skip

    def polygon(self, points, color, label, emission=0) -> None:
        corners = np.array([self._pixel(x, z) for x, z in points], np.int32)
        self._fill(
            lambda t, v: cv2.fillPoly(t, [corners], v, cv2.LINE_8, 3), color, label, emission
        )

    def line(self, points, width, color, label, emission=0) -> None:
        corners = np.array([self._pixel(x, z) for x, z in points], np.int32)
        thick = max(1, round(width * self.density))
        self._fill(
            lambda t, v: cv2.polylines(t, [corners], False, v, thick, cv2.LINE_8, 3),
            color, label, emission,
        )  # fmt: skip

    def sprite(self, relief: float = 0.0) -> Sprite:
        """Close the drawing; `relief` rounds it off by darkening towards the silhouette."""
        solid = (self.labels != TRANSPARENT).astype(np.float32)
        if relief:
            depth = cv2.GaussianBlur(solid, (0, 0), 0.06 * self.density)
            slope = cv2.Sobel(depth, cv2.CV_32F, 1, 0, ksize=3)
            self.image *= (1 - relief + relief * depth**2 + 1.2 * relief * slope)[..., None]
        mean = self.image[solid > 0].mean(0) if solid.any() else 0
        self.image[solid == 0] = mean
        return Sprite(Texture(rgbe(self.image, self.light), self.labels), self.width, self.height)


_LEAVES = [(86, 116, 50), (104, 126, 58), (64, 98, 54), (122, 134, 66), (150, 122, 56)]


def tree(rng) -> Sprite:
    """A broad crown, a poplar or a conifer, 5 to 11 m high."""
    height, kind = rng.uniform(5, 11), rng.choice(3, p=[0.7, 0.15, 0.15])
    width = height * (rng.uniform(0.6, 0.95), 0.32, 0.45)[kind]
    density = int(np.clip(330 / height, 24, 48))
    canvas = Canvas(width, height, density)
    bark = tint(rng, (84, 70, 56), 5)
    green = tint(rng, _LEAVES[rng.choice(5, p=[0.3, 0.25, 0.2, 0.17, 0.08])], 8)
    trunk = rng.uniform(0.12, 0.24)
    stem = height * (rng.uniform(0.25, 0.38), 0.12, 0.1)[kind]
    canvas.polygon(
        [(-trunk, 0), (trunk, 0), (trunk * 0.5, height * 0.7), (-trunk * 0.5, height * 0.7)],
        bark, PLANT,
    )  # fmt: skip
    for _ in range(5):
        tip = rng.uniform(-0.32, 0.32) * width, rng.uniform(0.5, 0.8) * height
        canvas.line([(0, stem * 0.85), tip], trunk * 0.6, bark * 0.9, PLANT)
    middle, reach = (stem + height) / 2, (height - stem) / 2
    clusters = []
    for _ in range(260):
        angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 0.86
        z = middle + reach * radius * np.sin(angle)
        taper = 1.0
        if kind == 2:
            taper = np.clip((height - z) / (height - stem), 0.04, 1)
        clusters.append((z, width / 2 * radius * np.cos(angle) * taper, taper))
    for z, x, taper in sorted(clusters, key=lambda c: c[0] + rng.normal(0, 0.5)):
        size = rng.uniform(0.035, 0.11) * width * (0.5 + 0.5 * taper)
        lit = 0.55 + 0.45 * (z - stem) / (height - stem) + rng.normal(0, 0.1)
        canvas.ellipse(x, z, size, size * 0.75, green * lit, PLANT)
    _leaves(canvas, rng)
    return canvas.sprite()


def _leaves(canvas: Canvas, rng) -> None:
    h, w = canvas.labels.shape
    grain = fractal(rng, 256, 32, 0.85)
    grain = cv2.resize(np.tile(grain, (2, 2))[:h, :w], (w, h))
    canvas.image *= 0.62 + 0.76 * grain[..., None]
    holes = cv2.resize(np.tile(fractal(rng, 256, 16, 0.8), (2, 2))[:h, :w], (w, h)) < 0.16
    canvas.labels[holes] = TRANSPARENT


def bush(rng) -> Sprite:
    height = rng.uniform(0.8, 2.2)
    canvas = Canvas(height * 1.5, height, int(150 / height))
    green = tint(rng, (66, 90, 44), 14)
    for _ in range(90):
        x, z = rng.normal(0, 0.26) * height, abs(rng.normal(0.38, 0.24)) * height
        lit = 0.5 + 0.6 * z / height
        canvas.ellipse(x, min(z, 0.88 * height), 0.1 * height, 0.08 * height, green * lit, PLANT)
    _leaves(canvas, rng)
    return canvas.sprite()


SKIN = [(226, 186, 160), (198, 150, 118), (140, 96, 72), (92, 62, 48)]
CLOTHES = [
    (36, 40, 52), (60, 72, 104), (148, 44, 40), (196, 186, 170), (52, 84, 60), (28, 28, 30),
    (208, 168, 60), (110, 92, 76), (86, 130, 168), (160, 160, 164), (226, 226, 222), (98, 46, 88),
]  # fmt: skip


def person(rng, phase: float) -> Sprite:
    """Someone walking; `phase` in turns of the gait."""
    tall = rng.uniform(1.5, 1.95)
    canvas = Canvas(1.0, 2.05, 110)
    coat = tint(rng, CLOTHES[rng.integers(12)], 14)
    trousers = tint(rng, CLOTHES[rng.integers(12)], 12) * 0.8
    skin, hair = tint(rng, SKIN[rng.integers(4)], 6), tint(rng, (70, 50, 36), 20)
    broad = rng.uniform(0.19, 0.26)
    swing = 0.26 * np.sin(2 * np.pi * phase)
    hip, shoulder = 0.52 * tall, 0.82 * tall
    for side in (-1, 1):
        foot = 0.06 * side + swing * side
        knee = foot * 0.6 + 0.03 * side
        shade = 0.8 if side < 0 else 1.0
        canvas.line(
            [(0.07 * side, hip), (knee, 0.28 * tall), (foot, 0.06)], 0.14, trousers * shade, PERSON
        )
        canvas.ellipse(foot + 0.04, 0.04, 0.1, 0.045, (34, 30, 28), PERSON)
    hem = hip - rng.uniform(0.0, 0.35)
    for side in (-1, 1):
        hand = -swing * side * 0.8 + side * broad
        canvas.line(
            [(side * broad * 0.9, shoulder - 0.05), (side * (broad + 0.05), 0.64 * tall),
             (hand, 0.5 * tall)], 0.1, coat * 0.85, PERSON,
        )  # fmt: skip
        canvas.ellipse(hand, 0.48 * tall, 0.04, 0.05, skin, PERSON)
    canvas.polygon(
        [(-broad, shoulder), (-broad * 0.6, shoulder + 0.06), (broad * 0.6, shoulder + 0.06),
         (broad, shoulder), (broad * 0.86, hem), (-broad * 0.86, hem)], coat, PERSON,
    )  # fmt: skip
    if rng.random() < 0.3:
        bag = tint(rng, CLOTHES[rng.integers(12)], 12)
        canvas.ellipse(broad * 0.4, 0.68 * tall, 0.13, 0.2, bag, PERSON)
    canvas.line([(0, shoulder), (0, shoulder + 0.1)], 0.1, skin * 0.9, PERSON)
    canvas.ellipse(0, tall - 0.12, 0.1, 0.13, skin, PERSON)
    canvas.ellipse(0, tall - 0.06, 0.105, 0.08, hair, PERSON)
    return canvas.sprite(0.45)


def cyclist(rng, phase: float, motor: bool = False) -> Sprite:
    """A rider seen from behind or ahead, on a bicycle or a motorcycle."""
    machine = MOTORCYCLE if motor else BICYCLE
    canvas = Canvas(1.0, 2.0, 110)
    coat, trousers = tint(rng, CLOTHES[rng.integers(12)], 14), tint(rng, (50, 54, 70), 14)
    frame = tint(rng, rng.uniform(20, 200, 3))
    pedal = 0.12 * np.sin(2 * np.pi * phase)
    tyre = 0.2 if motor else 0.06
    canvas.line([(0, 0.04), (0, 0.64)], tyre, (26, 26, 28), machine)
    if motor:
        canvas.ellipse(0, 0.72, 0.24, 0.24, frame, machine)
        canvas.ellipse(0, 0.86, 0.09, 0.06, (220, 40, 30), machine, 220)
    canvas.line([(-0.3, 1.04), (0.3, 1.04)], 0.05, frame, machine)
    for side in (-1, 1):
        low = 0.26 + pedal * side if not motor else 0.36
        knee = 0.24 * side if motor else 0.17 * side
        canvas.line(
            [(0.1 * side, 0.92), (knee, 0.62 + pedal * side * 0.5), (0.11 * side, low)], 0.13,
            trousers, RIDER,
        )  # fmt: skip
        canvas.ellipse(0.11 * side, low - 0.02, 0.06, 0.06, (30, 28, 28), RIDER)
        canvas.line([(0.19 * side, 1.42), (0.32 * side, 1.2), (0.28 * side, 1.06)], 0.09,
                    coat * 0.85, RIDER)  # fmt: skip
    canvas.polygon(
        [(-0.21, 1.44), (-0.1, 1.5), (0.1, 1.5), (0.21, 1.44), (0.17, 0.86), (-0.17, 0.86)],
        coat, RIDER,
    )  # fmt: skip
    helmet = tint(rng, rng.uniform(20, 230, 3)) if motor or rng.random() < 0.5 else (64, 46, 36)
    canvas.ellipse(0, 1.64, 0.1, 0.13, tint(rng, SKIN[rng.integers(4)], 6), RIDER)
    canvas.ellipse(0, 1.68, 0.12, 0.12 if motor else 0.09, helmet, RIDER)
    return canvas.sprite(0.45)


def parked_bicycle(rng, motor: bool = False) -> Sprite:
    """A bicycle or motorcycle on its stand, seen from the side."""
    label = MOTORCYCLE if motor else BICYCLE
    canvas = Canvas(2.0, 1.15, 80)
    frame = tint(rng, rng.uniform(20, 210, 3))
    for x in (-0.56, 0.56):
        canvas.ellipse(x, 0.34, 0.31, 0.31, (28, 28, 30), label, thickness=8 if motor else 4)
    if motor:
        canvas.polygon([(-0.75, 0.8), (0.1, 0.78), (0.45, 0.95), (0.5, 0.6), (-0.3, 0.55)],
                       frame, label)  # fmt: skip
        canvas.ellipse(-0.05, 0.42, 0.28, 0.2, (74, 74, 78), label)
        canvas.line([(0.56, 0.34), (0.4, 1.08)], 0.09, (60, 60, 64), label)
        return canvas.sprite(0.3)
    seat, bar, crank = (-0.2, 0.86), (0.4, 0.92), (-0.05, 0.36)
    for a, b in (((-0.56, 0.34), crank), (crank, seat), (crank, (0.38, 0.78)),
                 (seat, (0.38, 0.78)), ((-0.56, 0.34), seat), (bar, (0.56, 0.34))):  # fmt: skip
        canvas.line([a, b], 0.045, frame, label)
    canvas.line([(-0.32, 0.92), (-0.1, 0.92)], 0.06, (24, 22, 22), label)
    canvas.line([(0.3, 0.98), (0.48, 0.96)], 0.05, (24, 22, 22), label)
    return canvas.sprite()


def sign(rng) -> Sprite:
    """A traffic sign on its post."""
    canvas = Canvas(0.9, 3.0, 64)
    gray = tint(rng, (132, 134, 136), 12)
    canvas.line([(0, 0), (0, 2.9)], 0.07, gray, POLE)
    _plate(canvas, rng, 2.52)
    if rng.random() < 0.3:
        canvas.polygon([(-0.3, 1.95), (0.3, 1.95), (0.3, 2.12), (-0.3, 2.12)], (226, 226, 222),
                       SIGN)  # fmt: skip
        canvas.line([(-0.2, 2.03), (0.2, 2.03)], 0.05, (40, 40, 40), SIGN)
    return canvas.sprite()


def _plate(canvas: Canvas, rng, z: float) -> None:
    red, blue, white, dark = (188, 28, 32), (28, 72, 158), (232, 232, 228), (34, 34, 36)
    kind = rng.integers(6)
    if kind == 0:
        canvas.ellipse(0, z, 0.38, 0.38, red, SIGN)
        canvas.ellipse(0, z, 0.29, 0.29, white, SIGN)
        canvas.line([(-0.12, z - 0.14), (-0.12, z + 0.14)], 0.08, dark, SIGN)
        canvas.ellipse(0.08, z, 0.07, 0.12, dark, SIGN, thickness=4)
    elif kind == 1:
        canvas.polygon([(-0.42, z - 0.34), (0.42, z - 0.34), (0, z + 0.4)], red, SIGN)
        canvas.polygon([(-0.26, z - 0.25), (0.26, z - 0.25), (0, z + 0.22)], white, SIGN)
        canvas.line([(0, z - 0.18), (0, z + 0.02)], 0.07, dark, SIGN)
    elif kind == 2:
        canvas.ellipse(0, z, 0.38, 0.38, blue, SIGN)
        canvas.line([(-0.18, z - 0.16), (0.16, z + 0.18)], 0.09, white, SIGN)
    elif kind == 3:
        angles = np.arange(8) * np.pi / 4 + np.pi / 8
        canvas.polygon([(0.42 * np.cos(a), z + 0.42 * np.sin(a)) for a in angles], red, SIGN)
        canvas.line([(-0.26, z), (0.26, z)], 0.13, white, SIGN)
    elif kind == 4:
        canvas.polygon([(-0.4, z - 0.36), (0.4, z - 0.36), (0.4, z + 0.4), (-0.4, z + 0.4)],
                       blue, SIGN)  # fmt: skip
        canvas.polygon([(-0.24, z - 0.26), (0.24, z - 0.26), (0, z + 0.24)], white, SIGN)
    else:
        canvas.polygon([(0, z - 0.42), (0.42, z), (0, z + 0.42), (-0.42, z)], white, SIGN)
        canvas.polygon([(0, z - 0.32), (0.32, z), (0, z + 0.32), (-0.32, z)], (222, 176, 40), SIGN)


def traffic_light(rng, state: int) -> Sprite:
    """A signal head on its post; state 0 red, 1 amber, 2 green."""
    canvas = Canvas(0.7, 3.5, 64)
    canvas.line([(0, 0), (0, 3.2)], 0.12, tint(rng, (100, 104, 102), 12), POLE)
    canvas.polygon([(-0.2, 2.4), (0.2, 2.4), (0.2, 3.45), (-0.2, 3.45)], (26, 28, 28), LIGHT)
    for i, color in enumerate(((250, 40, 30), (250, 180, 40), (40, 240, 130))):
        on = i == state
        shown = np.array(color) * (1.0 if on else 0.16)
        canvas.ellipse(0, 3.27 - 0.34 * i, 0.12, 0.12, shown, LIGHT, 255 if on else 0)
    return canvas.sprite()


def street_lamp(rng, side: int) -> Sprite:
    """A lamp post with its arm over the road; `side` is +1 right of the road, -1 left of it."""
    height, arm = 7.0, 1.7
    canvas = Canvas(4.0, height + 0.2, 40)
    gray = tint(rng, (112, 116, 116), 14)
    canvas.line([(0, 0), (0, height - 0.5)], 0.14, gray, POLE)
    canvas.line([(0, height - 0.6), (-side * 0.3, height), (-side * arm, height)], 0.1, gray, POLE)
    canvas.ellipse(-side * arm, height - 0.04, 0.34, 0.1, (252, 226, 178), POLE, 255)
    return canvas.sprite()


def utility_pole(rng) -> Sprite:
    canvas = Canvas(1.6, 7.5, 32)
    wood = tint(rng, (98, 82, 66), 10)
    canvas.line([(0, 0), (0, 7.5)], 0.22, wood, POLE)
    canvas.line([(-0.75, 6.9), (0.75, 6.9)], 0.12, wood * 0.9, POLE)
    return canvas.sprite(0.3)


def bollard(rng) -> Sprite:
    canvas = Canvas(0.25, 1.0, 64)
    canvas.line([(0, 0), (0, 0.95)], 0.13, tint(rng, (90, 88, 86), 20), POLE)
    canvas.line([(0, 0.75), (0, 0.85)], 0.13, (222, 218, 210), POLE)
    return canvas.sprite(0.3)
