"""The light that reaches the camera from every pixel, in one condition."""

from collections.abc import Callable

import cv2
import numpy as np

from dgss_core.synthetic import lighting, weather
from dgss_core.synthetic.classes import SKY
from dgss_core.synthetic.lighting import Light
from dgss_core.synthetic.noise import tiled
from dgss_core.synthetic.scene import RANGE
from dgss_core.synthetic.shadows import building_shadow
from dgss_core.synthetic.things import Block
from dgss_core.synthetic.view import View
from dgss_core.synthetic.world import Street

Light3 = Callable[[slice], np.ndarray]
"""Light (h, W, 3) on the pixels of some rows."""


class Shading:
    """Deferred shading of the views along a street in one `condition`."""

    def __init__(self, street: Street, condition: str, light: Light) -> None:
        self.street, self.condition, self.light = street, condition, light

    def radiance(self, view: View, time: float) -> np.ndarray:
        """Linear radiance (H, W, 3) through the air, with the sky; `time` in seconds."""
        light = self.light
        blocks = self.street.blocks(view.camera.s - 12, view.camera.s + RANGE)
        lights = self._lights(view, blocks)
        found = np.empty((*view.label.shape, 3), np.float32)
        for rows in view.bands():
            self._shade(view, rows, lights, found[rows])
        if self.condition == 'rain':
            found = self._wet(view, found, time)
        through = None
        for rows in view.bands():
            air = weather.transmission(view.near[rows], light.visibility)[..., None]
            if through is None:
                through = np.empty(found.shape, np.result_type(found, air))
            mixed = np.multiply(found[rows], air, out=through[rows])
            mixed += light.horizon * (1 - air)
            sky = self._sky(view, rows, time)
            if sky is not None:
                mixed += (sky - mixed) * view.open_sky[rows, :, None]
        assert through is not None
        return through

    def _sky(self, view: View, rows: slice, time: float) -> np.ndarray | None:
        """The sky behind the pixels of `rows`; None if they show none."""
        if not view.open_sky[rows].any():
            return None
        light, noise = self.light, self.street.stock.noise
        return lighting.sky(light, noise, view.across, view.rise[rows], time)

    def _shade(self, view: View, rows: slice, lights: list[Light3], out: np.ndarray) -> None:
        color = view.color[rows]
        albedo = np.square(color[..., :3] * np.float32(1 / 255))
        if self.condition == 'snow':
            lateral = view.lateral(rows)
            patches = self._patches(view, rows, lateral, 0.9)
            share = weather.snow_share(
                view.up[rows], view.label[rows], patches, lateral, self.street.style.lane, albedo
            )
            albedo += (np.array([0.78, 0.81, 0.86], np.float32) - albedo) * share[..., None]
        total = self._ambient(view, rows)
        for more in lights:
            total = total + more(rows)
        np.multiply(albedo, total.astype(np.float32, copy=False), out=out)
        emission = color[..., 3] * np.float32(1 / 255)
        if emission.any():
            out += albedo * (emission * (self.light.lamps * 2.6))[..., None]

    def _ambient(self, view: View, rows: slice) -> np.ndarray:
        contact = np.where(view.ground[rows], view.contact[rows], 0) * np.float32(0.8 / 255)
        half = (0.5 + 0.5 * view.up[rows])[..., None]
        around = self.light.below * (1 - half)
        around += self.light.above * half
        around *= (1 - contact)[..., None]
        return around

    def _lights(self, view: View, blocks: list[Block]) -> list[Light3]:
        """The lights of this condition but the ambient one."""
        light, found = self.light, []
        if light.sun.any():
            found.append(self._sun(view, blocks))
        if light.street_lamps:
            found.append(self._lamps(view, blocks).__getitem__)
        if light.head_lamps:
            tint = np.array([1.0, 0.96, 0.86], np.float32)

            def beam(rows: slice) -> np.ndarray:
                near, rise = view.near[rows], view.rise[rows]
                return lighting.head_light(light, view.across, rise, near) * tint

            found.append(beam)
        return found

    def _sun(self, view: View, blocks: list[Block]) -> Light3:
        light = self.light
        facing, cast = view.facing(light.toward_sun), view.shade.cast(light.toward_sun)
        shadow = building_shadow(self.street, blocks, light.toward_sun)

        def sun(rows: slice) -> np.ndarray:
            lit = facing[rows]
            lit *= shadow(view.s(rows), view.lateral(rows), view.z(rows))
            dark = np.maximum(cast[rows], view.contact[rows])
            lit *= 1 - np.where(view.ground[rows], dark, 0) / 255 * 0.92
            return lit[..., None] * light.sun

        return sun

    def _lamps(self, view: View, blocks: list[Block]) -> np.ndarray:
        some = slice(None, None, 4)
        world = view.s(some), view.y(some), view.z(some)
        position = np.stack([part[:, ::4] for part in world], 2).astype(np.float32)
        lamps = [
            (s, float(self.street.centre(s)) + lateral, z)
            for block in blocks
            for s, lateral, z in block.lamps
            if view.camera.s - 15 < s < view.camera.s + 110
        ]
        found = lighting.lamp_light(self.light, lamps, position, view.up[::4, ::4])
        size = view.camera.width, view.camera.height
        return cv2.resize(found, size, interpolation=cv2.INTER_LINEAR)

    def _wet(self, view: View, radiance: np.ndarray, time: float) -> np.ndarray:
        puddles = np.empty(view.label.shape, np.float32)
        for rows in view.bands():
            puddles[rows] = self._patches(view, rows, view.lateral(rows), 0.5)
            sky = self._sky(view, rows, time)
            if sky is not None:
                np.copyto(radiance[rows], sky, where=(view.label[rows] == SKY)[..., None])
        return weather.wet(radiance, view.ground, view.near, view.camera, puddles)

    def _patches(self, view: View, rows: slice, lateral: np.ndarray, scale: float) -> np.ndarray:
        """Noise fixed to the ground, float32 (h, W) in [0, 1]."""
        u = (lateral * (22 * scale)).astype(np.float32)
        v = (np.mod(view.s(rows), 512 / (9 * scale)) * (9 * scale)).astype(np.float32)
        return tiled(self.street.stock.noise, u, v)
