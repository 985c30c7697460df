"""Draws everything on the ground into the buffers, with its shadows."""

from collections.abc import Callable
from functools import partial

import numpy as np

from dgss_core.labels import IGNORE
from dgss_core.synthetic.classes import VEGETATION
from dgss_core.synthetic.raster import GBuffer, Texture, unit_normal
from dgss_core.synthetic.shadows import GroundShade
from dgss_core.synthetic.things import Block, Parked, Standing
from dgss_core.synthetic.world import Street

RANGE = 230.0
"""Drawing distance in metres."""
_UPRIGHT = (-0.55, 0.0, 0.6)
_FLAT_PLASTER = (168, 158, 146)


def backdrop(buffer: GBuffer, noise: np.ndarray) -> None:
    """Draw a line of trees at the horizon, 450 m away."""
    camera = buffer.camera
    across = (np.arange(camera.width) + 0.5 - camera.cx) / camera.focal
    row = noise[37]
    place = np.mod((across + 4.0) * 180, 512)
    height = 5 + 16 * np.interp(place, np.arange(512), row)
    rise = height * camera.focal / 450
    top = camera.cy - rise
    rows = np.arange(camera.height)[:, None]
    low = int(np.clip(np.ceil(camera.cy) + 1, 0, camera.height))
    covered = (rows[:low] > top) & (rows[:low] < camera.cy + 1)
    buffer.label[:low][covered] = VEGETATION
    buffer.color[:low][covered] = (74, 88, 62, 0)
    buffer.inverse_depth[:low][covered] = 1 / 450
    buffer.face[:low][covered] = buffer.face_of(_UPRIGHT)


class ScenePainter:
    """Draws the blocks, vehicles and sprites of one frame, nearest first."""

    def __init__(self, street: Street, buffer: GBuffer, shade: GroundShade) -> None:
        self.street, self.buffer, self.shade = street, buffer, shade
        self.here = buffer.camera.s
        self.jobs: list[tuple[float, Callable[[], None]]] = []

    def add_block(self, block: Block) -> None:
        for corners, texture, label in block.quads:
            low, high = corners[:, 0].min(), corners[:, 0].max()
            flat_on = high - low < 1e-6
            if high < self.here + 0.7 or low > self.here + RANGE or (flat_on and low < self.here):
                continue
            self.jobs.append((low, partial(self._quad, corners, texture, label)))
        for crown in block.crowns:
            if crown[0] > self.here - 20:
                self.shade.crown(*crown)
        for thing in block.standing:
            self.add_standing(thing, detailed=False)
        for vehicle in block.parked:
            self.add_vehicle(vehicle)

    def add_standing(self, thing: Standing, detailed: bool = True) -> None:
        depth = thing.s - self.here
        if not 1.0 < depth < RANGE * 0.8:
            return
        y = float(self.street.centre(thing.s)) + thing.lateral
        self.jobs.append((thing.s, partial(self._sprite, thing, y)))
        if depth < 60 and (detailed or thing.sprite.width < 2.5):
            self.shade.column(thing.s, y, thing.sprite.height * thing.scale, thing.z)

    def add_vehicle(self, parked: Parked) -> None:
        depth = parked.s - self.here
        reach = parked.vehicle.length
        if depth < -reach or depth > RANGE * 0.9:
            return
        start = parked.s - (reach if parked.heading == -1 else 0)
        self.jobs.append((start, partial(self._vehicle, parked)))

    def draw(self) -> None:
        self.jobs.sort(key=lambda job: job[0])
        for _, job in self.jobs:
            job()
        # The jobs hold the painter, whose buffers would wait for the garbage collector.
        self.jobs.clear()

    def _quad(self, corners: np.ndarray, texture: Texture | None, label: int) -> None:
        normal = unit_normal(corners[1] - corners[0], corners[-1] - corners[0])
        camera = self.buffer.camera
        toward = np.array([camera.s, camera.y, camera.z]) - corners[0]
        normal = normal if normal @ toward > 0 else -normal
        if texture is None:
            self.buffer.polygon(corners, _FLAT_PLASTER, label, normal)
        else:
            self.buffer.quad(corners, texture, label, normal)

    def _sprite(self, thing: Standing, y: float) -> None:
        half = thing.sprite.width * thing.scale / 2
        top = thing.z + thing.sprite.height * thing.scale
        s, z = thing.s, thing.z
        corners = [(s, y - half, top), (s, y + half, top), (s, y + half, z), (s, y - half, z)]
        self.buffer.quad(corners, thing.sprite.texture, IGNORE, _UPRIGHT)

    def _vehicle(self, parked: Parked) -> None:
        vehicle, street = parked.vehicle, self.street
        at = np.array([parked.s, float(street.centre(parked.s)) + parked.lateral, parked.z])
        sign = np.sign(parked.heading)
        if abs(parked.heading) == 1:
            middle = parked.s + sign * vehicle.length / 2
            forward = sign * np.array([1.0, float(street.slope(middle)), 0.0])
            right = sign * np.array([0.0, 1.0, 0.0])
        else:
            forward = sign * np.array([0.0, 1.0, 0.0])
            right = sign * np.array([-1.0, 0.0, 0.0])
        vehicle.draw(self.buffer, at, forward, right, parked.s - self.here < 70)
        half, nose = right * vehicle.width / 2, forward * vehicle.length
        footprint = np.array([at - half, at + half, at + half + nose, at - half + nose])
        if footprint[:, 0].max() - self.here < 90:
            self.shade.box(footprint[:, :2], vehicle.height, parked.z)
