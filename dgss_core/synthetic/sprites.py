"""Street furniture as upright silhouettes: signs, traffic lights, lamps, poles, parked cycles."""

import numpy as np

from dgss_core.synthetic.canvas import Canvas, Sprite
from dgss_core.synthetic.classes import BICYCLE, MOTORCYCLE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN
from dgss_core.synthetic.noise import Random, tint


def parked_bicycle(rng: Random, motor: bool = False) -> Sprite:
    """A parked bicycle or motorcycle, from the side."""
    label = MOTORCYCLE if motor else BICYCLE
    canvas = Canvas(width=2.0, height=1.15, density=80)
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


def sign(rng: Random) -> Sprite:
    """A traffic sign on a post."""
    canvas = Canvas(width=0.9, height=3.0, density=64)
    gray = tint(rng, (132, 134, 136), 6)
    canvas.line([(0, 0), (0, 2.9)], 0.07, gray, POLE)
    _plate(canvas, rng, 2.52)
    if rng.random() < 0.3:
        canvas.polygon([(-0.3, 1.95), (0.3, 1.95), (0.3, 2.12), (-0.3, 2.12)], (226, 226, 222),
                       TRAFFIC_SIGN)  # fmt: skip
        canvas.line([(-0.2, 2.03), (0.2, 2.03)], 0.05, (40, 40, 40), TRAFFIC_SIGN)
    return canvas.sprite()


def _plate(canvas: Canvas, rng: Random, z: float) -> None:
    red, blue, white, dark = (188, 28, 32), (28, 72, 158), (232, 232, 228), (34, 34, 36)
    kind = rng.integers(6)
    if kind == 0:
        canvas.ellipse(0, z, 0.38, 0.38, red, TRAFFIC_SIGN)
        canvas.ellipse(0, z, 0.29, 0.29, white, TRAFFIC_SIGN)
        canvas.line([(-0.12, z - 0.14), (-0.12, z + 0.14)], 0.08, dark, TRAFFIC_SIGN)
        canvas.ellipse(0.08, z, 0.07, 0.12, dark, TRAFFIC_SIGN, thickness=4)
    elif kind == 1:
        canvas.polygon([(-0.42, z - 0.34), (0.42, z - 0.34), (0, z + 0.4)], red, TRAFFIC_SIGN)
        canvas.polygon([(-0.26, z - 0.25), (0.26, z - 0.25), (0, z + 0.22)], white, TRAFFIC_SIGN)
        canvas.line([(0, z - 0.18), (0, z + 0.02)], 0.07, dark, TRAFFIC_SIGN)
    elif kind == 2:
        canvas.ellipse(0, z, 0.38, 0.38, blue, TRAFFIC_SIGN)
        canvas.line([(-0.18, z - 0.16), (0.16, z + 0.18)], 0.09, white, TRAFFIC_SIGN)
    elif kind == 3:
        angles = np.arange(8) * np.pi / 4 + np.pi / 8
        canvas.polygon(
            [(0.42 * np.cos(a), z + 0.42 * np.sin(a)) for a in angles], red, TRAFFIC_SIGN
        )
        canvas.line([(-0.26, z), (0.26, z)], 0.13, white, TRAFFIC_SIGN)
    elif kind == 4:
        canvas.polygon([(-0.4, z - 0.36), (0.4, z - 0.36), (0.4, z + 0.4), (-0.4, z + 0.4)],
                       blue, TRAFFIC_SIGN)  # fmt: skip
        canvas.polygon([(-0.24, z - 0.26), (0.24, z - 0.26), (0, z + 0.24)], white, TRAFFIC_SIGN)
    else:
        canvas.polygon([(0, z - 0.42), (0.42, z), (0, z + 0.42), (-0.42, z)], white, TRAFFIC_SIGN)
        canvas.polygon(
            [(0, z - 0.32), (0.32, z), (0, z + 0.32), (-0.32, z)], (222, 176, 40), TRAFFIC_SIGN
        )


def traffic_light(rng: Random, state: int) -> Sprite:
    """A traffic light on a post; `state`: 0 red, 1 amber, 2 green."""
    canvas = Canvas(width=0.7, height=3.5, density=64)
    canvas.line([(0, 0), (0, 3.2)], 0.12, tint(rng, (100, 104, 102), 6), POLE)
    canvas.polygon(
        [(-0.2, 2.4), (0.2, 2.4), (0.2, 3.45), (-0.2, 3.45)], (26, 28, 28), TRAFFIC_LIGHT
    )
    for i, color in enumerate(((250, 40, 30), (250, 180, 40), (40, 240, 130))):
        on = i == state
        shown = np.array(color) * (1.0 if on else 0.16)
        canvas.ellipse(0, 3.27 - 0.34 * i, 0.12, 0.12, shown, TRAFFIC_LIGHT, 255 if on else 0)
    return canvas.sprite()


def street_lamp(rng: Random, side: int) -> Sprite:
    """A lamp post with an arm over the road; `side`: +1 right of the road, -1 left."""
    height, arm = 7.0, 1.7
    canvas = Canvas(width=4.0, height=height + 0.2, density=40)
    gray = tint(rng, (112, 116, 116), 7)
    canvas.line([(0, 0), (0, height - 0.5)], 0.14, gray, POLE)
    canvas.line([(0, height - 0.6), (-side * 0.3, height), (-side * arm, height)], 0.1, gray, POLE)
    canvas.ellipse(-side * arm, height - 0.04, 0.34, 0.1, (252, 226, 178), POLE, 255)
    return canvas.sprite()


def utility_pole(rng: Random) -> Sprite:
    canvas = Canvas(width=1.6, height=7.5, density=32)
    wood = tint(rng, (98, 82, 66), 5)
    canvas.line([(0, 0), (0, 7.5)], 0.22, wood, POLE)
    canvas.line([(-0.75, 6.9), (0.75, 6.9)], 0.12, wood * 0.9, POLE)
    return canvas.sprite(0.3)


def bollard(rng: Random) -> Sprite:
    canvas = Canvas(width=0.25, height=1.0, density=64)
    canvas.line([(0, 0), (0, 0.95)], 0.13, tint(rng, (90, 88, 86), 10), POLE)
    canvas.line([(0, 0.75), (0, 0.85)], 0.13, (222, 218, 210), POLE)
    return canvas.sprite(0.3)
