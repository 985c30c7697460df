"""Tileable ground textures, facades, walls, fences and hedges."""

import cv2
import numpy as np

from dgss_core.synthetic.noise import Random, fractal, rgbe, tint
from dgss_core.synthetic.texture import Texture

TILE = 8.0
"""Metres covered by a ground texture."""
TEXELS = 512
DENSITY = 16
"""Texels per metre of facades, walls and fences."""

PLASTER = [
    (206, 190, 160), (188, 172, 150), (214, 208, 196), (176, 160, 136), (200, 168, 128),
    (170, 176, 178), (196, 150, 120), (158, 148, 140), (182, 186, 170), (222, 214, 186),
]  # fmt: skip
BRICK = [(140, 78, 60), (122, 66, 52), (156, 98, 74), (110, 84, 70), (166, 120, 90)]
CONCRETE = [(150, 150, 148), (126, 128, 130), (172, 168, 160), (104, 108, 114)]


def asphalt(rng: Random) -> np.ndarray:
    """Grains, stains, sealed cracks and repair patches, uint8 (512, 512, 3)."""
    gray = rng.uniform(62, 104)
    image = gray + 26 * (fractal(rng, TEXELS, 4) - 0.5) + rng.normal(0, 9, (TEXELS, TEXELS))
    for _ in range(rng.integers(0, 4)):
        x, y = rng.integers(20, 380, 2)
        w, h = rng.integers(30, 130, 2)
        image[y : y + h, x : x + w] += rng.uniform(-16, 12)
    image = image.astype(np.float32)
    for _ in range(rng.integers(1, 7)):
        steps = rng.normal(0, 9, (24, 2)) + rng.normal(0, 9, 2)
        path = np.cumsum(steps, 0) + rng.uniform(60, 450, 2)
        shade = float(gray - rng.uniform(12, 34))
        cv2.polylines(image, [path.astype(np.int32)], False, shade, int(rng.integers(1, 3)))
    warm = 1 + rng.uniform(-0.03, 0.04)
    return np.clip(np.stack([image * warm, image, image / warm], 2), 0, 255).astype(np.uint8)


def paving(rng: Random) -> np.ndarray:
    """Slabs with joints, uint8 (512, 512, 3)."""
    color = tint(rng, [(150, 146, 140), (132, 128, 124), (164, 150, 136)][rng.integers(3)], 8)
    w, h = int(rng.choice([16, 32, 64])), int(rng.choice([16, 32, 64]))
    slabs = rng.normal(0, 7, (TEXELS // h, TEXELS // w)).astype(np.float32)
    shade = np.repeat(np.repeat(slabs, h, 0), w, 1)
    shade += 22 * (fractal(rng, TEXELS, 4) - 0.5) + rng.normal(0, 5, (TEXELS, TEXELS))
    joint = rng.uniform(18, 42)
    shade[::h] -= joint
    shade[:, ::w] -= joint
    return np.clip(color + shade[..., None], 0, 255).astype(np.uint8)


def grass(rng: Random) -> np.ndarray:
    """Blades, dry spots and bare soil, uint8 (512, 512, 3)."""
    green = tint(rng, (84, 108, 48), 10)
    dry = tint(rng, (140, 128, 76), 10)
    mix = np.clip(fractal(rng, TEXELS, 4)[..., None] * 1.6 - rng.uniform(0.3, 0.9), 0, 1)
    blades = fractal(rng, TEXELS, 64, 0.8)[..., None] - 0.5 + rng.normal(0, 0.1, mix.shape)
    return np.clip((green * (1 - mix) + dry * mix) * (1 + 0.9 * blades), 0, 255).astype(np.uint8)


def brickwork(base: np.ndarray, noise: np.ndarray) -> None:
    """Darken `base` in place to courses of four texels, each brick in its own shade."""
    rows, columns = np.arange(base.shape[0]) // 4, np.arange(base.shape[1]) // 7
    shade = noise[np.ix_(rows * 13 % 512, columns * 37 % 512)]
    base *= (0.86 + 0.28 * shade)[..., None]
    base[::4] *= 1.1


def roof_tiles(rng: Random) -> Texture:
    """Rows of tiles for pitched roofs, 64 x 64 texels."""
    color = tint(rng, [(136, 70, 52), (84, 66, 60), (66, 68, 74), (150, 92, 66)][rng.integers(4)])
    image = np.tile(color, (64, 64, 1)) * (1 + rng.normal(0, 0.07, (64, 64, 1)))
    image[::5] *= 0.72
    return Texture(rgbe(image))


def garden_wall(rng: Random, noise: np.ndarray) -> Texture:
    """A brick, plaster or concrete wall with a coping, 4 x 1 m."""
    brick = rng.random() < 0.5
    palette = BRICK if brick else CONCRETE + PLASTER
    color = tint(rng, palette[rng.integers(len(palette))])
    image = (color * (0.78 + 0.4 * noise[:32, :128, None])).astype(np.float32)
    if brick:
        brickwork(image, noise)
    else:
        image[:, :: int(rng.choice([32, 64]))] *= 0.7
    image[:4] = np.minimum(color * 1.25, 235)
    image[4:6] *= 0.6
    return Texture(rgbe(image))


def fence(rng: Random) -> Texture:
    """Palings, bars or mesh, 4 m long; the gaps are transparent but labelled fence."""
    h, w = 48, 128
    alpha = np.zeros((h, w), np.uint8)
    style = rng.integers(3)
    color = tint(rng, [(120, 92, 64), (52, 56, 54), (150, 154, 152)][style], 14)
    if style == 0:
        gap = int(rng.integers(1, 3))
        for x in range(0, w, 5 + gap):
            alpha[4:, x : x + 5] = 255
    elif style == 1:
        alpha[2:, ::6] = 255
        alpha[2:, 1::6] = 255
    else:
        for i in range(-h, w, 7):
            cv2.line(alpha, (i, 0), (i + h, h), 255, 1)
            cv2.line(alpha, (i + h, 0), (i, h), 255, 1)
        alpha[:, ::32] = alpha[:, 1::32] = 255
    alpha[6:9] = alpha[-12:-9] = 255
    image = color * (0.85 + 0.3 * rng.random((h, w, 1)))
    return Texture(rgbe(image), alpha=alpha)


def hedge(rng: Random) -> Texture:
    """A clipped hedge, 4 x 1.5 m."""
    color = tint(rng, (58, 84, 40), 10)
    leaves = fractal(rng, 128, 16, 0.8)[:64, :, None]
    return Texture(rgbe(color * (0.45 + 1.1 * leaves)))
