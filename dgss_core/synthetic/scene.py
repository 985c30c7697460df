"""Draws everything on the ground into the buffers, and collects its shadows."""

import numpy as np

from dgss_core.synthetic.classes import VEGETATION
from dgss_core.synthetic.raster import BACKDROP, Face, GBuffer
from dgss_core.synthetic.shadows import Box, Column, GroundShade
from dgss_core.synthetic.things import Block, Parked, Standing
from dgss_core.synthetic.vehicles import PlacedVehicle
from dgss_core.synthetic.world import Street

RANGE = 230.0
"""Drawing distance in metres."""


def backdrop(buffer: GBuffer, noise: np.ndarray) -> None:
    """Draw a line of trees at the horizon, 450 m away."""
    camera = buffer.camera
    across = (np.arange(camera.width) + 0.5 - camera.cx) / camera.focal
    row = noise[37]
    place = np.mod((across + 4.0) * 180, 512)
    height = 5 + 16 * np.interp(place, np.arange(512), row)
    rise = height * camera.focal / 450
    top = camera.cy - rise
    low = int(np.clip(np.ceil(camera.cy) + 1, 0, camera.height))
    high = int(np.clip(np.floor(top.min()), 0, low))
    rows = np.arange(high, low)[:, None]
    covered = (rows > top) & (rows < camera.cy + 1)
    band = slice(high, low)
    buffer.label[band][covered] = VEGETATION
    buffer.color[band][covered] = (74, 88, 62, 0)
    buffer.inverse_depth[band][covered] = 1 / 450
    buffer.face[band][covered] = BACKDROP


class ScenePainter:
    """Draws the blocks, vehicles and sprites of one frame, nearest first."""

    def __init__(self, street: Street, buffer: GBuffer, shade: GroundShade) -> None:
        self.street, self.buffer, self.shade = street, buffer, shade
        camera = buffer.camera
        self.here, self.eye = camera.s, np.array([camera.s, camera.y, camera.z])
        self.jobs: list[tuple[float, list[Face], Box | None]] = []

    def add_block(self, block: Block) -> None:
        faces, reach, corners, normals = block.walls
        low, high = reach.T
        flat_on = (high - low < 1e-6) & (low < self.here)
        seen = (high >= self.here + 0.7) & (low <= self.here + RANGE) & ~flat_on
        front = (normals * (self.eye - corners)).sum(1) > 0
        for i in np.flatnonzero(seen):
            self.jobs.append((low[i], [faces[i][int(front[i])]], None))
        self.shade.things += [crown for crown in block.crowns if crown.s > self.here - 20]
        for thing, y, face in block.sprites:
            self._add_sprite(thing, y, face, thing.sprite.width < 2.5)
        for parked, placed in block.vehicles:
            self._add_vehicle(parked, placed)

    def add_standing(self, things: list[Standing]) -> None:
        """Add what moves on foot or on two wheels."""
        centres = self.street.centre([thing.s for thing in things]).tolist()
        for thing, centre in zip(things, centres, strict=True):
            y = centre + thing.lateral
            self._add_sprite(thing, y, thing.face(y), True)

    def add_vehicles(self, vehicles: list[Parked]) -> None:
        for parked in vehicles:
            self._add_vehicle(parked, parked.placed(self.street.curve))

    def _add_sprite(self, thing: Standing, y: float, face: Face, shades: bool) -> None:
        depth = thing.s - self.here
        if 1.0 < depth < RANGE * 0.8:
            self.jobs.append((thing.s, [face], None))
            if shades and depth < 60:
                self.shade.things.append(Column(thing.s, y, thing.height, thing.z))

    def _add_vehicle(self, parked: Parked, placed: PlacedVehicle) -> None:
        depth, reach = parked.s - self.here, parked.vehicle.length
        if depth < -reach or depth > RANGE * 0.9:
            return
        start = parked.s - (reach if parked.heading == -1 else 0)
        box = None
        if placed.footprint[:, 0].max() - self.here < 90:
            box = Box(placed.footprint, parked.vehicle.height, parked.z)
        self.jobs.append((start, placed.faces(self.eye, depth < 70), box))

    def draw(self) -> None:
        self.jobs.sort(key=lambda job: job[0])
        self.buffer.draw(face for _, faces, _ in self.jobs for face in faces)
        self.shade.things += [box for _, _, box in self.jobs if box is not None]
