"""Weather of ImageNet-C: the same formulas, except that frost is drawn, not photographed."""

from __future__ import annotations

import cv2
import numpy as np

from dgss_core.corruptions.blur import smear, smooth, zoom
from dgss_core.synthetic.noise import Random, fractal

WATER = np.array([175, 238, 238], np.float32) / 255
MUD = np.array([63, 42, 20], np.float32) / 255
EDGES = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)


def fog(image: np.ndarray, random: Random, thickness: float, decay: float) -> np.ndarray:
    """Add a plasma fractal, then scale the image back to its range."""
    height, width = image.shape[:2]
    side = 1 << (max(height, width) - 1).bit_length()
    brightest = image.max()
    veil = plasma(random, side, decay)[:height, :width, None]
    return (image + thickness * veil) * (brightest / (brightest + thickness))


def plasma(random: Random, side: int, decay: float) -> np.ndarray:
    """Fractal by midpoint displacement on a torus, float32 (side, side) in 0 to 1.

    `side` is a power of two. Fournier, Fussell and Carpenter, CACM 1982; the amplitude falls by
    `decay` squared per octave, as in ImageNet-C.
    """
    field = np.zeros((side, side), np.float32)
    step, wobble = side, 100.0

    def around(total: np.ndarray) -> np.ndarray:
        return total / 4 + wobble * random.uniform(-wobble, wobble, total.shape)

    while step >= 2:
        half = step // 2
        corners = field[::step, ::step]
        pairs = corners + np.roll(corners, -1, 0)
        field[half::step, half::step] = around(pairs + np.roll(pairs, -1, 1))
        centres = field[half::step, half::step]
        beside = corners + np.roll(corners, -1, 1) + centres + np.roll(centres, 1, 0)
        field[::step, half::step] = around(beside)
        below = pairs + centres + np.roll(centres, 1, 1)
        field[half::step, ::step] = around(below)
        step, wobble = half, wobble / decay
    field -= field.min()
    return field / max(field.max(), np.float32(1e-6))


def snow(
    image: np.ndarray,
    random: Random,
    mean: float,
    deviation: float,
    size: float,
    threshold: float,
    radius: int,
    sigma: float,
    keep: float,
) -> np.ndarray:
    """Magnified noise above a threshold, blurred downwards, over a paler image."""
    layer = random.normal(mean, deviation, image.shape[:2]).astype(np.float32)
    layer = zoom(layer, size)
    layer[layer < threshold] = 0
    layer = smear(np.clip(layer, 0, 1), radius, sigma, random.uniform(45, 135))[..., None]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    image = keep * image + (1 - keep) * np.maximum(image, grey * 1.5 + 0.5)
    return image + layer + layer[::-1, ::-1]


def spatter(
    image: np.ndarray,
    random: Random,
    mean: float,
    deviation: float,
    sigma: float,
    threshold: float,
    strength: float,
    mud: bool,
) -> np.ndarray:
    """Drops of water, or splashes of `mud`, on the lens."""
    liquid = random.normal(mean, deviation, image.shape[:2]).astype(np.float32)
    liquid = smooth(liquid, sigma)
    liquid[liquid < threshold] = 0
    if mud:
        cover = smooth((liquid > threshold).astype(np.float32), strength)[..., None]
        cover[cover < 0.8] = 0
        return image * (1 - cover) + MUD * cover
    drops = np.clip(liquid * 255, 0, 255).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    relief = cv2.filter2D(cv2.equalizeHist(distance), cv2.CV_8U, EDGES)
    relief = cv2.blur(relief, (3, 3)).astype(np.float32)
    light = drops * relief
    light = light / max(light.max(), 1) * strength
    return image + light[..., None] * WATER


def frost(image: np.ndarray, random: Random, keep: float, amount: float) -> np.ndarray:
    """Ice on the lens: keep * image + amount * ice."""
    height, width = image.shape[:2]
    return keep * image + amount * ice(random, width=width, height=height)[..., None] * (
        0.92,
        0.97,
        1,
    )


def ice(random: Random, *, width: int, height: int) -> np.ndarray:
    """Ice crystals over a thin film of fractal noise, float32 (height, width) in 0 to 1.

    A crystal has arms at 60 degrees with side branches. They are denser towards the border, where
    a pane freezes first.
    """
    side = max(height, width)
    canvas = np.zeros((height, width), np.float32)
    for _ in range(420):
        # Exponent below 1: more crystals start near the border.
        x, y = np.sign(random.uniform(-1, 1, 2)) * random.uniform(0, 1, 2) ** 0.35
        length = side * random.uniform(0.01, 0.06)
        _crystal(canvas, random, (x + 1) / 2 * width, (y + 1) / 2 * height, length)
    film = fractal(random, 256, base=3, gain=0.7)
    film = cv2.resize(film, (width, height), interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(canvas, (0, 0), side / 120)
    return np.clip(0.12 + 0.5 * film + 0.4 * soft + 0.35 * canvas, 0, 1).astype(np.float32)


def _crystal(canvas: np.ndarray, random: Random, x: float, y: float, length: float) -> None:
    turn = random.uniform(0, np.pi)
    for arm in turn + np.arange(6) * np.pi / 3 + random.normal(0, 0.25, 6):
        reach = length * random.uniform(0.2, 1)
        _line(canvas, x, y, arm, reach)
        for share, side in zip(random.uniform(0.1, 1, 8), np.tile([-1, 1], 4), strict=True):
            start = x + np.cos(arm) * reach * share, y + np.sin(arm) * reach * share
            _line(canvas, *start, arm + side * np.pi / 3, reach * 0.6 * (1 - share))


def _line(canvas: np.ndarray, x: float, y: float, angle: float, length: float) -> None:
    start = round(x * 8), round(y * 8)
    end = round((x + np.cos(angle) * length) * 8), round((y + np.sin(angle) * length) * 8)
    cv2.line(canvas, start, end, 1.0, 1, cv2.LINE_8, 3)
