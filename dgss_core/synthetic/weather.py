"""Fog, wet ground, snow cover, falling rain and snow, the lens and the sensor."""

from collections.abc import Iterable

import cv2
import numpy as np

from dgss_core.synthetic.camera import DriveCamera
from dgss_core.synthetic.classes import ROAD, TERRAIN, VEGETATION
from dgss_core.synthetic.noise import Random

CONTRAST_THRESHOLD = 0.05


def transmission(depth: np.ndarray, visibility: float) -> np.ndarray:
    """Share of light, 0 to 1, that passes `depth` metres of air at a `visibility` in metres.

    t = exp(-beta d) with beta = -ln(0.05) / visibility (Koschmieder, "Theorie der horizontalen
    Sichtweite", 1924): at the visibility, contrast falls to 5 % (WMO).
    """
    return np.exp(np.log(CONTRAST_THRESHOLD) / visibility * depth)


def wet(
    radiance: np.ndarray,
    ground: np.ndarray,
    depth: np.ndarray,
    camera: DriveCamera,
    puddles: np.ndarray,
) -> np.ndarray:
    """Darken the ground and add the reflection of the things above it.

    Each column is mirrored at the row where the ground begins, and blurred along the column as by
    rough wet asphalt. The reflectance of water is r = 0.02 + 0.98 (1 - cos)^5 (Schlick's
    approximation of Fresnel, 1994).

    Args:
        radiance: float32 (H, W, 3).
        ground: bool (H, W).
        depth: (H, W) in metres.
        puddles: (H, W) in [0, 1].
    """
    height, width = ground.shape
    rows = np.arange(height, dtype=np.float32)[:, None]
    edge = np.maximum.accumulate(np.where(ground, -1.0, rows).astype(np.float32), 0)
    mirror = 2 * edge + 1 - rows
    columns = np.broadcast_to(np.arange(width, dtype=np.float32), mirror.shape)
    wave = (puddles - 0.5) * 3
    image = cv2.remap(
        radiance, columns + wave, mirror, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    smear = max(3, height // 20) | 1
    image = cv2.blur(image, (3, smear))
    grazing = 1 - camera.z / np.sqrt(depth**2 + camera.z**2)
    share = (0.02 + 0.98 * grazing**5) * (0.45 + 0.55 * puddles)
    share = np.where(ground, np.clip(share * 0.75, 0, 0.8), 0)[..., None]
    dark = np.where(ground, 0.42 + 0.2 * (1 - puddles), 1.0)[..., None].astype(np.float32)
    return radiance * dark * (1 - share) + image * share


def snow_share(
    up: np.ndarray,
    label: np.ndarray,
    patches: np.ndarray,
    lateral: np.ndarray,
    lane: float,
    albedo: np.ndarray,
) -> np.ndarray:
    """Share of each pixel covered by snow, (H, W) in 0 to 1, by how far its surface faces up.

    Wheel tracks on the road have less snow. On vegetation, bright leaves are covered.
    """
    share = np.clip((up - 0.55) * 3, 0, 1) * np.clip(patches * 2.2 - 0.1, 0, 1)
    tracks = np.zeros_like(share)
    for at in (lane / 2 - 0.8, lane / 2 + 0.8, -lane / 2 - 0.8, -lane / 2 + 0.8):
        tracks += np.exp(-(((lateral - at) / 0.34) ** 2))
    share *= np.where(label == ROAD, 1 - 0.8 * np.clip(tracks, 0, 1), 1)
    share = np.where(label == TERRAIN, np.clip(share + 0.45, 0, 1), share)
    leaves = np.clip(albedo.mean(2) * 7 - 0.25, 0, 0.75)
    return np.where(label == VEGETATION, leaves, share)


def rain_streaks(image: np.ndarray, rng: Random, amount: float, depth: np.ndarray) -> np.ndarray:
    """Add rain streaks to a float32 image in 0 to 255: long and faint when near, short when far.

    A drop at distance z that falls at 7 m/s draws a line of f 0.12 / z pixels in 1/60 s. `depth`
    (H, W), in metres, hides the drops behind it. After Garg and Nayar, "Vision and Rain", IJCV
    2007.
    """
    height, width = depth.shape
    slant = rng.normal(0, 0.08)
    layer: np.ndarray = np.zeros((height, width), np.uint8)
    for near, count in ((2.5, 40), (5.0, 160), (10.0, 420)):
        streaks: np.ndarray = np.zeros_like(layer)
        length = max(2.0, width * 0.1 / near)
        for x, y in rng.random((int(count * amount), 2)) * (width, height):
            dx = slant * length + (x / width - 0.5) * length * 0.5
            a = round(x * 8), round(y * 8)
            b = round((x + dx) * 8), round((y + length) * 8)
            cv2.line(streaks, a, b, int(60 + 110 * (near / 10)), 1, cv2.LINE_AA, 3)
        if near < 5:
            streaks = cv2.GaussianBlur(streaks, (0, 0), max(0.5, width / 700))
        streaks[depth < near] = 0
        layer = cv2.max(layer, streaks)
    bright = 0.35 * image.mean() + 120
    return image + (bright - image) * (layer[..., None] * (0.45 / 255))


def snow_flakes(image: np.ndarray, rng: Random, amount: float, depth: np.ndarray) -> np.ndarray:
    """Add snow flakes to a float32 image in 0 to 255, sized and blurred by their distance."""
    height, width = depth.shape
    layer: np.ndarray = np.zeros((height, width), np.uint8)
    for near, count in ((1.5, 9), (3.0, 70), (7.0, 260), (16.0, 700)):
        flakes: np.ndarray = np.zeros_like(layer)
        size = max(0.5, width * 0.0075 / near)
        smear = rng.uniform(0.5, 2.0) * size
        for x, y in rng.random((int(count * amount), 2)) * (width, height):
            a = round(x * 8), round(y * 8)
            b = round((x + smear * 0.4) * 8), round((y + smear) * 8)
            cv2.line(flakes, a, b, 235, max(1, round(size)), cv2.LINE_AA, 3)
        if near < 5:
            flakes = cv2.GaussianBlur(flakes, (0, 0), max(0.4, size * 0.45))
        flakes[depth < near] = 0
        layer = cv2.max(layer, flakes)
    white = min(250.0, 0.5 * image.mean() + 150)
    return image + (white - image) * (layer[..., None] * (0.85 / 255))


def lens_drops(image: np.ndarray, rng: Random, count: int) -> np.ndarray:
    """Draw drops on the lens, in place: each shows its surroundings small, turned and blurred."""
    height, width = image.shape[:2]
    soft = None
    for _ in range(count):
        radius = int(max(2, width * rng.uniform(0.008, 0.028)))
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        x0, x1 = max(0, x - radius), min(width, x + radius)
        y0, y1 = max(0, y - radius), min(height, y + radius)
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        if soft is None:
            soft = cv2.blur(image, (9, 9))
        around = soft[
            max(0, y - 5 * radius) : y + 5 * radius, max(0, x - 5 * radius) : x + 5 * radius
        ]
        inside = cv2.resize(around[::-1, ::-1], (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        dy, dx = np.mgrid[y0:y1, x0:x1] - np.array([y, x])[:, None, None]
        share = np.clip(1.4 - 1.5 * np.hypot(dx, dy) / radius, 0, 0.75)[..., None]
        image[y0:y1, x0:x1] += (inside * 1.06 - image[y0:y1, x0:x1]) * share.astype(np.float32)
    return image


def glow(radiance: np.ndarray, exposure: float, amount: float) -> np.ndarray:
    """Radiance (H, W, 3) that spreads in the lens from what is above the range of the sensor."""
    height, width = radiance.shape[:2]
    small = cv2.resize(radiance, (max(4, width // 4), max(4, height // 4)),
                       interpolation=cv2.INTER_AREA)  # fmt: skip
    bright = np.clip(small * exposure - 0.9, 0, 4)
    found = cv2.GaussianBlur(bright, (0, 0), max(0.5, width / 400))
    found += cv2.GaussianBlur(bright, (0, 0), max(1.0, width / 100)) * 0.7
    found = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)
    found *= amount / exposure
    return found


class Sensor:
    """Colour response, blur, vignetting, and noise that grows with the root of the signal."""

    def __init__(self, rng: Random, *, width: int, height: int) -> None:
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        balance = np.exp(rng.normal(0, 0.014, 3)).astype(np.float32)
        self.vignette = (1 - rng.uniform(0.05, 0.22) * (x * x + y * y) / 2)[..., None] * balance
        self.saturation = float(rng.uniform(0.62, 1.05))
        grain = rng.standard_normal((height + 40, width + 40, 3), np.float32)
        self.grain = cv2.GaussianBlur(grain, (0, 0), 0.55) * 1.8
        self.blur = rng.uniform(0.25, 0.62) * max(0.4, width / 640)
        self.gain = rng.uniform(0.6, 1.6)

    def read(
        self, image: np.ndarray, rng: Random, noise: float, bands: Iterable[slice]
    ) -> np.ndarray:
        """uint8 (H, W, 3) from float in 0 to 255, a band of rows after the other."""
        mix = np.full((3, 3), (1 - self.saturation) / 3) + np.eye(3) * self.saturation
        image = cv2.transform(image, mix)
        image = cv2.GaussianBlur(image, (0, 0), self.blur)
        dy, dx = rng.integers(0, 40, 2)
        height, width = image.shape[:2]
        grain = self.grain[dy : dy + height, dx : dx + width]
        found = np.empty(image.shape, np.uint8)
        for rows in bands:
            part = image[rows] * self.vignette[rows]
            sigma = (noise * self.gain) * (1.0 + 0.09 * np.sqrt(np.maximum(part, 0)))
            found[rows] = np.clip(part + grain[rows] * sigma + 0.5, 0, 255)
        return found
