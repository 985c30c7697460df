"""Trees, bushes, walkers and riders, as upright silhouettes."""

import cv2
import numpy as np

from dgss_core.synthetic.canvas import Canvas, Sprite
from dgss_core.synthetic.classes import BICYCLE, MOTORCYCLE, PERSON, RIDER, VEGETATION
from dgss_core.synthetic.noise import Random, fractal, tint
from dgss_core.synthetic.texture import TRANSPARENT

_LEAVES = [(86, 116, 50), (104, 126, 58), (64, 98, 54), (122, 134, 66), (150, 122, 56)]


def tree(rng: Random) -> Sprite:
    """A broad crown, a poplar or a conifer, 5 to 11 m high."""
    height, kind = rng.uniform(5, 11), rng.choice(3, p=[0.7, 0.15, 0.15])
    width = height * (rng.uniform(0.6, 0.95), 0.32, 0.45)[kind]
    density = int(np.clip(330 / height, 24, 48))
    canvas = Canvas(width=width, height=height, density=density)
    bark = tint(rng, (84, 70, 56), 5)
    green = tint(rng, _LEAVES[rng.choice(5, p=[0.3, 0.25, 0.2, 0.17, 0.08])], 8)
    trunk = rng.uniform(0.12, 0.24)
    stem = height * (rng.uniform(0.25, 0.38), 0.12, 0.1)[kind]
    canvas.polygon(
        [(-trunk, 0), (trunk, 0), (trunk * 0.5, height * 0.7), (-trunk * 0.5, height * 0.7)],
        bark, VEGETATION,
    )  # fmt: skip
    for _ in range(5):
        tip = rng.uniform(-0.32, 0.32) * width, rng.uniform(0.5, 0.8) * height
        canvas.line([(0, stem * 0.85), tip], trunk * 0.6, bark * 0.9, VEGETATION)
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
        canvas.ellipse(x, z, size, size * 0.75, green * lit, VEGETATION)
    _leaves(canvas, rng)
    return canvas.sprite()


def _leaves(canvas: Canvas, rng: Random) -> None:
    h, w = canvas.labels.shape
    grain = fractal(rng, 256, 32, 0.85)
    grain = cv2.resize(np.tile(grain, (2, 2))[:h, :w], (w, h))
    canvas.image *= 0.62 + 0.76 * grain[..., None]
    holes = cv2.resize(np.tile(fractal(rng, 256, 16, 0.8), (2, 2))[:h, :w], (w, h)) < 0.16
    canvas.labels[holes] = TRANSPARENT


def bush(rng: Random) -> Sprite:
    height = rng.uniform(0.8, 2.2)
    canvas = Canvas(width=height * 1.5, height=height, density=int(150 / height))
    green = tint(rng, (66, 90, 44), 14)
    for _ in range(90):
        x, z = rng.normal(0, 0.26) * height, abs(rng.normal(0.38, 0.24)) * height
        lit = 0.5 + 0.6 * z / height
        canvas.ellipse(
            x, min(z, 0.88 * height), 0.1 * height, 0.08 * height, green * lit, VEGETATION
        )
    _leaves(canvas, rng)
    return canvas.sprite()


PERSON_SIZE = {'width': 1.0, 'height': 2.05}
CYCLIST_SIZE = {'width': 1.0, 'height': 2.0}
"""Metres."""
SKIN = [(226, 186, 160), (198, 150, 118), (140, 96, 72), (92, 62, 48)]
CLOTHES = [
    (36, 40, 52), (60, 72, 104), (148, 44, 40), (196, 186, 170), (52, 84, 60), (28, 28, 30),
    (208, 168, 60), (110, 92, 76), (86, 130, 168), (160, 160, 164), (226, 226, 222), (98, 46, 88),
]  # fmt: skip


def person(rng: Random, phase: float) -> Sprite:
    """A walking person; `phase` 0 to 1 is one cycle of the gait."""
    tall = rng.uniform(1.5, 1.95)
    canvas = Canvas(**PERSON_SIZE, density=110)
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


def cyclist(rng: Random, phase: float, motor: bool = False) -> Sprite:
    """A rider on a bicycle or motorcycle, from behind or ahead; `phase` as in `person`."""
    machine = MOTORCYCLE if motor else BICYCLE
    canvas = Canvas(**CYCLIST_SIZE, density=110)
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
