"""The synthetic drive: renders a frame from the world, the camera, the light and the weather."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np

from dgss_core.errors import DgssError, unknown
from dgss_core.labels import IGNORE
from dgss_core.synthetic import lighting, traffic, weather
from dgss_core.synthetic.camera import DriveCamera
from dgss_core.synthetic.classes import ROAD, SIDEWALK, SKY, TERRAIN
from dgss_core.synthetic.ground import Ground
from dgss_core.synthetic.lighting import CONDITIONS
from dgss_core.synthetic.noise import stream
from dgss_core.synthetic.raster import GBuffer
from dgss_core.synthetic.scene import RANGE, ScenePainter, backdrop
from dgss_core.synthetic.shadows import GroundShade, building_shadow
from dgss_core.synthetic.things import Block
from dgss_core.synthetic.world import Street, street_of

SAMPLES = 2
"""Samples per pixel along each side."""
SMALLEST = 32


@dataclass(frozen=True)
class SyntheticFrame:
    """One frame and its ground truth.

    `image`: RGB uint8 (H, W, 3). `labels`: uint8 (H, W), Cityscapes train ids, 255 unlabelled.
    `depth`: float32 (H, W), metres along the optical axis, inf for the sky.
    """

    image: np.ndarray
    labels: np.ndarray
    depth: np.ndarray


class StreetDrive:
    """An endless drive along the street of `seed`, rendered in one `condition`.

    Frames can be rendered in any order; the same arguments give the same bytes. The condition
    changes the image only: labels and depth of a seed are the same in every condition.

    Args:
        seed: any integer; sets the street, its furniture, the camera and the light.
        condition: one of `CONDITIONS`.
        width, height: size of the frames in pixels, at least 32 each.
        fps: frames per second; the camera drives about 8 m/s.

    Raises:
        DgssError: unknown condition, frames below 32 pixels, or a rate that is not positive.
    """

    def __init__(
        self,
        seed: int = 0,
        condition: str = 'day',
        *,
        width: int = 640,
        height: int = 360,
        fps: float = 10.0,
    ) -> None:
        if condition not in CONDITIONS:
            raise unknown('condition', condition, CONDITIONS)
        if min(width, height) < SMALLEST:
            raise DgssError(
                f'A synthetic frame of {width} x {height} is too small: '
                f'width and height must be at least {SMALLEST} pixels.'
            )
        if not fps > 0:
            raise DgssError(f'fps is {fps}: give a positive number of frames per second.')
        self.seed, self.condition = int(seed), condition
        self.width, self.height, self.fps = int(width), int(height), float(fps)
        self.street = street_of(self.seed)
        self.style, self.stock = self.street.style, self.street.stock
        self.traffic = traffic.Traffic(self.street)
        self.ground = Ground(self.street)
        self.light = lighting.light_of(condition, self.style)
        self._sensor = weather.Sensor(stream(self.seed, 60), width=self.width, height=self.height)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process builds the same drive from its arguments."""
        drive = partial(type(self), width=self.width, height=self.height, fps=self.fps)
        return drive, (self.seed, self.condition)

    def frame(self, index: int) -> SyntheticFrame:
        """The frame at `index / fps` seconds."""
        time = index / self.fps
        camera = self._camera(time)
        buffer = GBuffer(camera.scaled(SAMPLES))
        shade = GroundShade(camera, self.street)
        blocks = self.street.blocks(camera.s - 12, camera.s + RANGE)
        backdrop(buffer, self.stock.noise)
        ground = self.ground.draw(buffer)
        self._populate(buffer, shade, blocks, time)
        if ground is not None:
            self.ground.paint(buffer, ground)
        pixels = _PixelBuffers(buffer, camera, self.street)
        image = self._develop(pixels, shade, blocks, index)
        return self._finish(image, pixels)

    def _camera(self, time: float) -> DriveCamera:
        style, street = self.style, self.street
        s, lateral = traffic.ego_position(street, time)
        focal = self.width / 2 / np.tan(style.view / 2)
        nod = 0.0025 * np.sin(7.1 * time) + 0.0015 * np.sin(12.7 * time + 1)
        heading = float(street.slope(s + 4)) + 0.01 * np.sin(0.4 * time)
        cx = self.width / 2 - focal * heading
        cy = self.height * 0.46 + focal * (np.tan(style.pitch) + nod)
        y = float(street.centre(s)) + lateral
        return DriveCamera(
            width=self.width, height=self.height, focal=focal, cx=cx, cy=cy, s=s, y=y, z=style.eye
        )

    def _populate(
        self, buffer: GBuffer, shade: GroundShade, blocks: list[Block], time: float
    ) -> None:
        scene = ScenePainter(self.street, buffer, shade)
        for block in blocks:
            scene.add_block(block)
        start, end = scene.here - 12, scene.here + RANGE
        scene.add_vehicles(self.traffic.vehicles(time, start, end))
        scene.add_standing(self.traffic.riders(time, start, scene.here + 120))
        scene.add_standing(self.traffic.walkers(time, start, scene.here + 120))
        scene.draw()

    def _develop(
        self, pixels: '_PixelBuffers', shade: GroundShade, blocks: list[Block], index: int
    ) -> np.ndarray:
        """Light, weather, lens and sensor: uint8 (H, W, 3)."""
        light, rng = self.light, stream(self.seed, 61, index)
        albedo = np.square(pixels.color * np.float32(1 / 255))
        if self.condition == 'snow':
            patches = self._patches(pixels, 0.9)
            share = weather.snow_share(
                pixels.up, pixels.label, patches, pixels.lateral, self.style.lane, albedo
            )
            albedo += (np.array([0.78, 0.81, 0.86], np.float32) - albedo) * share[..., None]
        radiance = albedo * self._irradiance(pixels, shade, blocks)
        radiance += albedo * (pixels.emission * (light.lamps * 2.6))[..., None]
        sky = lighting.sky(light, self.stock.noise, pixels.across, pixels.rise, index / self.fps)
        if self.condition == 'rain':
            lit = np.where(pixels.label[..., None] == SKY, sky, radiance)
            radiance = weather.wet(
                lit, pixels.ground, pixels.near, pixels.camera, self._patches(pixels, 0.5)
            )
        air = weather.transmission(pixels.near, light.visibility)[..., None]
        radiance = radiance * air + light.horizon * (1 - air)
        radiance += (sky - radiance) * pixels.open_sky[..., None]
        radiance = weather.bloom(radiance, light.exposure, light.bloom)
        image = lighting.expose(radiance.astype(np.float32), light.exposure)
        if self.condition == 'rain':
            image = weather.rain_streaks(image, rng, rng.uniform(0.7, 1.3), pixels.near)
            drops = stream(self.seed, 62, index // 25)
            image = weather.lens_drops(image, drops, int(drops.integers(3, 11)))
        elif self.condition == 'snow':
            image = weather.snow_flakes(image, rng, rng.uniform(0.7, 1.2), pixels.near)
        return self._sensor.read(image, rng, light.noise)

    def _irradiance(
        self, pixels: '_PixelBuffers', shade: GroundShade, blocks: list[Block]
    ) -> np.ndarray:
        light = self.light
        contact = np.where(pixels.ground, shade.contact(), 0) * np.float32(0.8 / 255)
        half = (0.5 + 0.5 * pixels.up)[..., None]
        total = (light.below * (1 - half) + light.above * half) * (1 - contact)[..., None]
        if light.sun.any():
            sun = pixels.facing(light.toward_sun)
            sun *= building_shadow(
                self.street, blocks, light.toward_sun, pixels.s, pixels.lateral, pixels.z
            )
            sun *= (
                1 - np.where(pixels.ground, np.maximum(shade.cast(light.toward_sun), shade.contact()), 0) / 255 * 0.92
            )
            total = total + sun[..., None] * light.sun
        if light.street_lamps:
            total = total + self._lamps(pixels, blocks)
        if light.head_lamps:
            beam = lighting.head_light(light, pixels.across, pixels.rise, pixels.near)
            total = total + beam * np.array([1.0, 0.96, 0.86], np.float32)
        return total.astype(np.float32)

    def _lamps(self, pixels: '_PixelBuffers', blocks: list[Block]) -> np.ndarray:
        position = np.stack([pixels.s, pixels.y, pixels.z], 2)[::4, ::4].astype(np.float32)
        lamps = [
            (s, float(self.street.centre(s)) + lateral, z)
            for block in blocks
            for s, lateral, z in block.lamps
            if pixels.camera.s - 15 < s < pixels.camera.s + 110
        ]
        found = lighting.lamp_light(self.light, lamps, position, pixels.up[::4, ::4])
        return cv2.resize(found, (self.width, self.height), interpolation=cv2.INTER_LINEAR)

    def _patches(self, pixels: '_PixelBuffers', scale: float) -> np.ndarray:
        """Noise fixed to the ground, float32 (H, W) in [0, 1]."""
        u = (pixels.lateral * (22 * scale)).astype(np.float32)
        v = (np.mod(pixels.s, 512 / (9 * scale)) * (9 * scale)).astype(np.float32)
        return cv2.remap(self.stock.noise, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)

    def _finish(self, image: np.ndarray, pixels: '_PixelBuffers') -> SyntheticFrame:
        labels, depth = pixels.label.copy(), pixels.depth
        if self.style.mirrored:
            image, labels, depth = (
                np.ascontiguousarray(a[:, ::-1]) for a in (image, labels, depth)
            )
        if self.style.bonnet:
            self._bonnet(image, labels, depth)
        return SyntheticFrame(image, labels, depth)

    def _bonnet(self, image: np.ndarray, labels: np.ndarray, depth: np.ndarray) -> None:
        """Draw the bonnet of the ego vehicle: unlabelled, 1.2 m away."""
        x = np.linspace(-1, 1, self.width)
        rows = self.height * (1 - self.style.bonnet * np.sqrt(np.clip(1.1 - x * x, 0, 1)))
        top = int(rows.min())
        below = np.arange(top, self.height)[:, None] - rows
        inside = below >= 0
        fall = np.clip(below / (self.height * 0.12), 0, 1)[..., None]
        mirror = cv2.mean(image[: self.height // 2])[:3]
        tone = mirror * (0.62 - 0.45 * fall) * (0.9 + 0.1 * x[None, :, None])
        image[top:][inside] = np.clip(tone, 0, 255)[inside].astype(np.uint8)
        labels[top:][inside] = IGNORE
        depth[top:][inside] = 1.2


class _PixelBuffers:
    """The buffers at the size of the frame, with the world point of every pixel."""

    def __init__(self, buffer: GBuffer, camera: DriveCamera, street: Street) -> None:
        self.camera = camera
        size = camera.width, camera.height
        color = cv2.resize(buffer.color, size, interpolation=cv2.INTER_AREA)
        self.color, self.emission = color[..., :3], color[..., 3] * np.float32(1 / 255)
        pick = slice(SAMPLES // 2, None, SAMPLES)
        self.label = np.ascontiguousarray(buffer.label[pick, pick])
        inverse = buffer.inverse_depth[pick, pick]
        with np.errstate(divide='ignore'):
            self.depth = np.float32(1) / inverse
        self.near = np.minimum(self.depth, np.float32(600))
        above = (buffer.label == SKY).view(np.uint8) * np.uint8(255)
        above = cv2.resize(above, size, interpolation=cv2.INTER_AREA)
        self.open_sky = above * np.float32(1 / 255)
        self._normals = np.array(buffer.normals, np.float32)
        self._face = buffer.face
        self._size = size
        self.up = self._spread(self._normals[:, 2])
        self.ground = np.isin(self.label, (ROAD, SIDEWALK, TERRAIN)) & (
            buffer.face[pick, pick] == 0
        )
        columns, rows = np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5
        self.across = ((columns - camera.cx) / camera.focal).astype(np.float32)
        self.rise = ((camera.cy - rows) / camera.focal).astype(np.float32)
        self.s = camera.s + self.near
        self.y = camera.y + self.near * self.across
        self.z = camera.z + self.near * self.rise[:, None]
        table = street.centre(camera.s + np.arange(0, 602, 0.5)).astype(np.float32)
        self.lateral = self.y - table[(self.near * 2).astype(np.int32)]

    def _spread(self, values: np.ndarray) -> np.ndarray:
        """Antialiased values (H, W) per pixel from one value per face."""
        return cv2.resize(
            np.take(values.astype(np.float32), self._face),
            self._size,
            interpolation=cv2.INTER_AREA,
        )

    def facing(self, direction: np.ndarray) -> np.ndarray:
        """Cosine between the surfaces and a direction (s, y, z), at least 0, (H, W)."""
        return self._spread(np.maximum(self._normals @ np.asarray(direction, np.float32), 0))
