"""The synthetic drive: renders a frame from the world, the camera, the light and the weather."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np

from dgss_core.errors import DgssError, unknown
from dgss_core.labels import IGNORE
from dgss_core.synthetic import lighting, weather
from dgss_core.synthetic.camera import DriveCamera
from dgss_core.synthetic.ground import Ground
from dgss_core.synthetic.lighting import CONDITIONS
from dgss_core.synthetic.noise import stream
from dgss_core.synthetic.shading import Shading
from dgss_core.synthetic.traffic import ego_position
from dgss_core.synthetic.view import View, see
from dgss_core.synthetic.world import street_of

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
        self.style = self.street.style
        self.light = lighting.light_of(condition, self.style)
        self._shading = Shading(self.street, condition, self.light)
        size = {'width': self.width, 'height': self.height}
        self._ground = self.street.shared('ground', lambda: Ground(self.style, self.street.stock))
        self._sensor = self.street.shared(
            ('sensor', *size.values()), lambda: weather.Sensor(stream(self.seed, 60), **size)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process builds the same drive from its arguments."""
        drive = partial(type(self), width=self.width, height=self.height, fps=self.fps)
        return drive, (self.seed, self.condition)

    def frame(self, index: int) -> SyntheticFrame:
        """The frame at `index / fps` seconds."""
        view = self.view(index)
        return self._finish(self._develop(view, index), view)

    def view(self, index: int) -> View:
        """What is the same in all conditions of a frame; the last views of a street are kept."""
        time = index / self.fps

        def make() -> View:
            return see(self.street, self._ground, self._camera(time), time)

        return self.street.views.get((time, self.width, self.height), make)

    def _camera(self, time: float) -> DriveCamera:
        style, street = self.style, self.street
        s, lateral = ego_position(street, time)
        focal = self.width / 2 / np.tan(style.view / 2)
        nod = 0.0025 * np.sin(7.1 * time) + 0.0015 * np.sin(12.7 * time + 1)
        heading = float(street.slope(s + 4)) + 0.01 * np.sin(0.4 * time)
        cx = self.width / 2 - focal * heading
        cy = self.height * 0.46 + focal * (np.tan(style.pitch) + nod)
        y = float(street.centre(s)) + lateral
        return DriveCamera(
            width=self.width, height=self.height, focal=focal, cx=cx, cy=cy, s=s, y=y, z=style.eye
        )

    def _develop(self, view: View, index: int) -> np.ndarray:
        """Light, weather, lens and sensor: uint8 (H, W, 3)."""
        light, rng = self.light, stream(self.seed, 61, index)
        radiance = self._shading.radiance(view, index / self.fps)
        glow = weather.glow(radiance, light.exposure, light.bloom)
        image = np.empty(radiance.shape, np.float32)
        for rows in view.bands():
            bright = (radiance[rows] + glow[rows]).astype(np.float32)
            image[rows] = lighting.expose(bright, light.exposure)
        if self.condition == 'rain':
            image = weather.rain_streaks(image, rng, rng.uniform(0.7, 1.3), view.near)
            drops = stream(self.seed, 62, index // 25)
            image = weather.lens_drops(image, drops, int(drops.integers(3, 11)))
        elif self.condition == 'snow':
            image = weather.snow_flakes(image, rng, rng.uniform(0.7, 1.2), view.near)
        return self._sensor.read(image, rng, light.noise, view.bands())

    def _finish(self, image: np.ndarray, view: View) -> SyntheticFrame:
        labels, depth = view.label.copy(), view.depth.copy()
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
