"""Night and weather on street images without depth.

The depth is guessed for a forward camera: the road is a plane below a horizon at `HORIZON` of the
image height, and everything above it is `FAR` metres away.
"""

from __future__ import annotations

import cv2
import numpy as np

from dgss_core.synthetic.lighting import expose
from dgss_core.synthetic.noise import Random, fractal
from dgss_core.synthetic.weather import glow, lens_drops, rain_streaks, snow_flakes, transmission

HORIZON, FAR = 0.45, 80.0
CAMERA_HEIGHT, FOCAL = 1.5, 0.9
"""In metres, and in image widths."""
NIGHT, LAMP = (0.75, 0.88, 1.15), (1.1, 1.0, 0.78)
"""RGB tint of the remaining daylight, and of lamps."""


def plane_depth(*, width: int, height: int) -> np.ndarray:
    """Distance in metres of every pixel, float32 (H, W)."""
    below = np.arange(height, dtype=np.float32) + 0.5 - HORIZON * height
    road = CAMERA_HEIGHT * FOCAL * width / np.maximum(below, 1e-3)
    return np.broadcast_to(np.minimum(road, FAR)[:, None], (height, width)).copy()


def street_fog(image: np.ndarray, random: Random, visibility: float) -> np.ndarray:
    """Koschmieder's law for a visibility in metres; uneven fog in the colour of the sky."""
    height, width = image.shape[:2]
    depth = plane_depth(width=width, height=height) * (
        0.75 + 0.5 * _patches(random, width=width, height=height)
    )
    left = transmission(depth, visibility)[..., None].astype(np.float32)
    return image * left + _air(image) * (1 - left)


def street_rain(image: np.ndarray, random: Random, amount: float) -> np.ndarray:
    """Dull light, haze, streaks, and drops on the lens."""
    height, width = image.shape[:2]
    depth = plane_depth(width=width, height=height)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    image = (image * 0.65 + grey * 0.35) * (0.95 - 0.07 * amount)
    left = transmission(depth, 900 / amount)[..., None].astype(np.float32)
    image = image * left + 0.8 * _air(image) * (1 - left)
    image = rain_streaks(image * 255, random, amount, depth)
    return lens_drops(image.astype(np.float32), random, round(5 * amount)) / 255


def street_snow(image: np.ndarray, random: Random, amount: float) -> np.ndarray:
    """Falling snow, and snow on smooth ground, under an overcast sky."""
    height, width = image.shape[:2]
    depth = plane_depth(width=width, height=height)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    image = image * 0.75 + grey[..., None] * 0.25
    detail = cv2.GaussianBlur(np.abs(grey - cv2.blur(grey, (9, 9))), (0, 0), width / 150)
    ground = np.clip((np.arange(height) / height - HORIZON) * 8, 0, 1)[:, None]
    lying = np.clip(
        _patches(random, width=width, height=height) * 2 - 1.1 + 0.16 * amount, 0, 0.85
    )
    cover = (lying * ground * np.exp(-detail * 25))[..., None].astype(np.float32)
    image = image + (np.clip(0.35 + image.mean(), 0, 0.9) - image) * cover
    left = transmission(depth, 500 / amount)[..., None].astype(np.float32)
    image = image * left + _air(image) * (1 - left)
    return snow_flakes(image * 255, random, amount, depth).astype(np.float32) / 255


def street_night(image: np.ndarray, random: Random, light: float) -> np.ndarray:
    """Keep the share `light` of daylight; small lights stay bright; add low beams and noise.

    Radiance is the inverse of a film-like response. Dividing by its local mean removes sunlit
    walls; the sky is darkened too.
    """
    height, width = image.shape[:2]
    radiance = -np.log1p(-(np.clip(image, 0, 0.98) ** 2))
    grey = radiance.mean(2)
    sunlight = cv2.GaussianBlur(grey, (0, 0), width / 16) ** 0.7
    radiance = radiance * (0.35 / (0.1 + sunlight))[..., None]
    spot = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(3, width // 90),) * 2)
    lamps = np.clip(cv2.morphologyEx(image.max(2), cv2.MORPH_TOPHAT, spot) * 4 - 1.6, 0, 1)
    dark = radiance * (light * (1 - 0.9 * _sky(image)))[..., None] * NIGHT
    lit = (
        radiance
        * (0.35 * (light + 0.15) * _low_beams(width=width, height=height))[..., None]
        * LAMP
    )
    glare = (lamps * np.clip(grey, 0, 2))[..., None] * LAMP
    radiance = (dark + lit + glare).astype(np.float32)
    image = expose(radiance + glow(radiance, 1.0, 0.8), 1.0) / 255
    noise = random.standard_normal(image.shape, np.float32)
    return image + noise * (0.004 + 0.02 * np.sqrt(image)) * (0.12 / (light + 0.03)) ** 0.5


def _sky(image: np.ndarray) -> np.ndarray:
    """How likely each pixel is sky: bright, smooth and above the horizon; float32 (H, W)."""
    height, width = image.shape[:2]
    light = image.max(2)
    side = max(3, width // 100)
    smooth = np.exp(-25 * np.abs(light - cv2.blur(light, (side, side))))
    upper = np.clip((HORIZON - np.arange(height) / height) * 6, 0, 1)[:, None]
    likely = (upper * smooth * np.clip(light * 4 - 2, 0, 1)).astype(np.float32)
    # The border of the sky is not smooth, but belongs to it.
    likely = cv2.dilate(likely, np.ones((side + 2, side + 2), np.uint8))
    return cv2.blur(likely, (3, 3))


def _air(image: np.ndarray) -> np.ndarray:
    """Colour of the air: the brightest tenth of the upper half, made paler."""
    upper = image[: max(1, image.shape[0] // 2)].reshape(-1, 3)
    bright = upper[upper.mean(1) >= np.quantile(upper.mean(1), 0.9)].mean(0)
    return (0.3 * bright + 0.67 * bright.mean()).astype(np.float32)


def _patches(random: Random, *, width: int, height: int) -> np.ndarray:
    noise = fractal(random, 256, base=4)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def _low_beams(*, width: int, height: int) -> np.ndarray:
    """Light of the low beams on the road, float32 (H, W) in 0 to 1."""
    rows = np.arange(height)[:, None] / height
    columns = np.arange(width)[None] / width
    reach = np.exp(-(((rows - 0.68) / 0.14) ** 2)) * (rows > HORIZON)
    return (reach * np.exp(-(((columns - 0.5) / 0.28) ** 2))).astype(np.float32)
