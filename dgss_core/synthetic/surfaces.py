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
FRAMES = [(232, 230, 224), (70, 62, 56), (190, 180, 165)]
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


def _patch(noise: np.ndarray, y: int, x: int, *, width: int, height: int) -> np.ndarray:
    """A window of tileable noise, (height, width)."""
    repeats = -(-(y + height) // noise.shape[0]), -(-(x + width) // noise.shape[1])
    return np.tile(noise, repeats)[y : y + height, x : x + width]


def _brickwork(base: np.ndarray, noise: np.ndarray) -> None:
    """Darken `base` in place to courses of four texels, each brick in its own shade."""
    rows, columns = np.arange(base.shape[0]) // 4, np.arange(base.shape[1]) // 7
    shade = noise[np.ix_(rows * 13 % 512, columns * 37 % 512)]
    base *= (0.86 + 0.28 * shade)[..., None]
    base[::4] *= 1.1


def _window(
    image: np.ndarray,
    light: np.ndarray,
    rng: Random,
    corner: tuple[int, int],
    frame: list[float],
    glass: np.ndarray,
    lit: bool,
    *,
    width: int,
    height: int,
) -> None:
    """Draw a window with its top left at `corner` (x, y)."""
    (x, y), w, h = corner, width, height
    cv2.rectangle(image, (x - 1, y - 1), (x + w, y + h), frame, -1)
    pane = glass * rng.uniform(0.6, 1.35)
    if lit:
        pane = np.array((150, 126, 88)) * rng.uniform(0.55, 1.0)
    image[y : y + h, x : x + w] = pane * np.linspace(1.25, 0.75, h)[:, None, None]
    if rng.random() < 0.4 and not lit:
        drop = int(h * rng.uniform(0.2, 0.8))
        image[y : y + drop, x : x + w] = np.array((190, 184, 172)) * rng.uniform(0.55, 1)
    if w > 12:
        cv2.line(image, (x + w // 2, y), (x + w // 2, y + h), frame, 1)
    cv2.rectangle(image, (x - 2, y + h), (x + w + 1, y + h + 1), [c * 0.8 for c in frame], -1)
    if lit:
        light[y : y + h, x : x + w] = rng.integers(110, 255)


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
    w, h = max(8, int(width * DENSITY)), max(8, int(height * DENSITY))
    brick = rng.random() < 0.3 and kind != 'office'
    palette = BRICK if brick else CONCRETE if kind in ('works', 'office') else PLASTER
    wall = tint(rng, palette[rng.integers(len(palette))], 12)
    y0, x0 = rng.integers(0, 256, 2)
    dirt = _patch(noise, y0, x0, width=w, height=h)
    image = wall * (0.84 + 0.3 * dirt[..., None])
    if brick:
        _brickwork(image, noise)
    light = np.zeros((h, w), np.uint8)
    frame = tint(rng, FRAMES[rng.integers(3)], 8).tolist()
    glass = tint(rng, (70, 84, 98), 12)
    floor = int(rng.uniform(2.7, 3.5) * DENSITY)
    pitch = int(rng.uniform(1.7, 3.4) * DENSITY)
    ww, wh = int(pitch * rng.uniform(0.42, 0.62)), int(floor * rng.uniform(0.45, 0.6))
    if kind == 'office':
        ww, wh = pitch - 4, int(floor * 0.62)
    band = rng.random() < 0.5
    lit_share = rng.uniform(0.1, 0.5)
    floors = max(1, (h - 8) // floor)
    for level in range(floors):
        top = h - (level + 1) * floor + (floor - wh) // 2
        if band and level:
            cv2.rectangle(image, (0, h - level * floor), (w, h - level * floor + 2), frame, -1)
        if level == 0 and not blind:
            _ground_floor(image, light, rng, kind, floor, frame, glass)
            continue
        for x in range((w % pitch + pitch - ww) // 2, w - ww - 2, pitch):
            if top > 3 and x > 2 and not (blind and rng.random() < 0.85):
                lit = rng.random() < lit_share
                _window(image, light, rng, (x, top), frame, glass, lit, width=ww, height=wh)
    _cornice(image, rng, kind, wall)
    if not blind:
        cv2.rectangle(image, (0, h - 8), (w, h), [float(c) * 0.7 for c in wall], -1)
    image[:, :2] *= 0.8
    image[:, -2:] *= 0.8
    return Texture(rgbe(image, light))


def _ground_floor(
    image: np.ndarray,
    light: np.ndarray,
    rng: Random,
    kind: str,
    floor: int,
    frame: list[float],
    glass: np.ndarray,
) -> None:
    h, w = image.shape[:2]
    shop = kind == 'town' and rng.random() < 0.45
    if shop:
        sign = tint(rng, rng.uniform(30, 220, 3), 5)
        cv2.rectangle(image, (0, h - floor), (w, h - floor + 12), sign.tolist(), -1)
        for x in range(6, w - 30, 52):
            lit = rng.random() < 0.6
            corner = x, h - floor + 15
            _window(image, light, rng, corner, frame, glass, lit, width=44, height=floor - 26)
        return
    pitch = int(rng.uniform(2.0, 3.2) * DENSITY)
    door = rng.integers(0, max(1, w // pitch))
    for i, x in enumerate(range(8, w - pitch // 2 - 4, pitch)):
        if i == door:
            color = tint(rng, [(96, 64, 42), (44, 66, 56), (60, 60, 66), (120, 40, 36)][i % 4], 10)
            span = 40 if kind == 'works' else 18
            cv2.rectangle(image, (x - 2, h - 38), (x + span + 1, h), frame, -1)
            cv2.rectangle(image, (x, h - 36), (x + span - 1, h), color.tolist(), -1)
        else:
            lit = rng.random() < 0.3
            corner, wide, tall = (x, h - int(floor * 0.8)), pitch // 2, int(floor * 0.5)
            _window(image, light, rng, corner, frame, glass, lit, width=wide, height=tall)


def _cornice(image: np.ndarray, rng: Random, kind: str, wall: np.ndarray) -> None:
    h, w = image.shape[:2]
    if kind == 'town' and h > 160 and rng.random() < 0.45:
        roof = tint(rng, [(92, 58, 48), (70, 72, 78), (110, 72, 56)][rng.integers(3)], 8)
        depth = int(rng.uniform(1.8, 2.8) * DENSITY)
        image[:depth] = roof * (0.8 + 0.25 * rng.random((depth, 1, 1)))
        for x in range(int(rng.integers(10, 30)), w - 26, int(rng.integers(40, 70))):
            cv2.rectangle(image, (x, depth - 26), (x + 16, depth - 4), (218, 214, 206), -1)
            cv2.rectangle(image, (x + 2, depth - 23), (x + 14, depth - 5), (66, 76, 88), -1)
        image[depth : depth + 4] = np.minimum(wall * 1.2, 240)
        return
    image[:3] = wall * 0.55
    image[3:8] = np.minimum(wall * 1.18, 245)
    image[8:10] *= 0.75


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
        _brickwork(image, noise)
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
