"""What the camera sees at one moment, the same in every condition."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from dgss_core.synthetic.camera import DriveCamera
from dgss_core.synthetic.classes import ROAD, SIDEWALK, SKY, TERRAIN
from dgss_core.synthetic.ground import Ground
from dgss_core.synthetic.raster import GROUND, GBuffer
from dgss_core.synthetic.scene import RANGE, ScenePainter, backdrop
from dgss_core.synthetic.shadows import GroundShade
from dgss_core.synthetic.traffic import Traffic
from dgss_core.synthetic.world import Street

SAMPLES = 2
"""Samples per pixel along each side."""
_GROUND = ROAD, SIDEWALK, TERRAIN
_PIXELS = 2**14


def see(street: Street, ground: Ground, camera: DriveCamera, time: float) -> 'View':
    """The street through a camera, with its traffic at `time` in seconds."""
    buffer, shade = GBuffer(camera.scaled(SAMPLES)), GroundShade(camera, street.curve)
    backdrop(buffer, street.stock.noise)
    below = ground.draw(buffer, street)
    scene, traffic = ScenePainter(street, buffer, shade), Traffic(street)
    start, end = camera.s - 12, camera.s + RANGE
    for block in street.blocks(start, end):
        scene.add_block(block)
    scene.add_vehicles(traffic.vehicles(time, start, end))
    scene.add_standing(traffic.riders(time, start, camera.s + 120))
    scene.add_standing(traffic.walkers(time, start, camera.s + 120))
    scene.draw()
    if below is not None:
        ground.paint(buffer, below)
    return View(buffer, camera, street, shade)


class View:
    """The surfaces at the size of the frame (H, W), with the world point of every pixel.

    `color` (H, W, 4) uint8: RGB + emission. `label` (H, W) uint8. `depth`, `near` float32: metres,
    inf for the sky and at most 600. `open_sky`, `up` float32: the share of the sky in a pixel, and
    the vertical part of the normals. `ground` bool. `across` (W,), `rise` (H,) float32: tangents
    of the directions of columns and rows, up positive.
    """

    def __init__(
        self, buffer: GBuffer, camera: DriveCamera, street: Street, shade: GroundShade
    ) -> None:
        self.camera, self.shade = camera, shade
        self._size = camera.width, camera.height
        self.color = self._smaller(buffer.color)
        pick = slice(SAMPLES // 2, None, SAMPLES)
        self.label = np.ascontiguousarray(buffer.label[pick, pick])
        with np.errstate(divide='ignore'):
            self.depth = np.float32(1) / buffer.inverse_depth[pick, pick]
        self.near = np.minimum(self.depth, np.float32(600))
        above = (buffer.label == SKY).view(np.uint8) * np.uint8(255)
        self.open_sky = self._smaller(above) * np.float32(1 / 255)
        self._normals, self._face = np.array(buffer.normals, np.float32), buffer.face
        if len(self._normals) <= 256:
            self._face = self._face.astype(np.uint8)
        self.up = self._spread(self._normals[:, 2])
        flat = buffer.face[pick, pick] == GROUND
        self.ground = flat & np.logical_or.reduce([self.label == each for each in _GROUND])
        columns, rows = np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5
        self.across = ((columns - camera.cx) / camera.focal).astype(np.float32)
        self.rise = ((camera.cy - rows) / camera.focal).astype(np.float32)
        self._centre = street.centre(camera.s + np.arange(0, 602, 0.5)).astype(np.float32)

    @property
    def nbytes(self) -> int:
        return 32 * self.label.size

    @cached_property
    def contact(self) -> np.ndarray:
        """Shadows where things touch the ground, uint8 (H, W)."""
        return self.shade.contact()

    def bands(self) -> Iterator[slice]:
        """Slices of a few rows each: what is worked out for them fits into the cache of a core."""
        step = max(1, _PIXELS // self.camera.width)
        for start in range(0, self.camera.height, step):
            yield slice(start, start + step)

    def s(self, rows: Any) -> np.ndarray:
        """s of the pixels of `rows` in metres, float (h, W); so are `y`, `z` and `lateral`."""
        return self.camera.s + self.near[rows]

    def y(self, rows: Any) -> np.ndarray:
        return self.camera.y + self.near[rows] * self.across

    def z(self, rows: Any) -> np.ndarray:
        return self.camera.z + self.near[rows] * self.rise[rows, None]

    def lateral(self, rows: Any) -> np.ndarray:
        return self.y(rows) - self._centre[(self.near[rows] * 2).astype(np.int32)]

    def facing(self, direction: np.ndarray) -> np.ndarray:
        """Cosine between the surfaces and a direction (s, y, z), at least 0, (H, W)."""
        return self._spread(np.maximum(self._normals @ np.asarray(direction, np.float32), 0))

    def _spread(self, values: np.ndarray) -> np.ndarray:
        """Antialiased values (H, W) per pixel from one value per face."""
        values = values.astype(np.float32)
        if self._face.dtype == np.uint8:
            table = np.zeros(256, np.float32)
            table[: len(values)] = values
            return self._smaller(cv2.LUT(self._face, table))
        return self._smaller(np.take(values, self._face))

    def _smaller(self, samples: np.ndarray) -> np.ndarray:
        return cv2.resize(samples, self._size, interpolation=cv2.INTER_AREA)
