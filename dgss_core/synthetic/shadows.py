"""Sun shadows of buildings, trees and vehicles, and contact shadows under things."""

import cv2
import numpy as np

from dgss_core.synthetic.camera import DriveCamera
from dgss_core.synthetic.raster import NEAR
from dgss_core.synthetic.things import KERB, Block
from dgss_core.synthetic.world import Street


def building_shadow(
    street: Street,
    blocks: list[Block],
    toward_sun: np.ndarray,
    s: np.ndarray,
    lateral: np.ndarray,
    z: np.ndarray,
) -> np.ndarray:
    """Share of sunlight that the first rows of buildings let through, float32 (h, w).

    A point is in shadow if its ray to the sun crosses the building front on the sun's side below
    the roof line. `s`, `lateral`, `z` (h, w) in metres.
    """
    side = 1 if toward_sun[1] > 0 else -1
    start, end = blocks[0].start - 40, blocks[-1].end + 40
    roof = np.zeros(int(end - start) + 2, np.float32)
    front = street.style.front + 1.0
    for block in street.blocks(start, end):
        for s0, s1, _, height in block.skyline[side]:
            i, j = (int(np.clip(v - start, 0, len(roof))) for v in (s0, s1))
            roof[i:j] = height
    if abs(toward_sun[1]) < 0.05:
        return np.ones(s.shape, np.float32)
    run = np.maximum((side * front - lateral) / toward_sun[1], 0)
    index = np.clip(s + run * toward_sun[0] - start, 0, len(roof) - 1).astype(np.int32)
    rise = z + run * toward_sun[2]
    blocked = (roof[index] - rise) * 3
    return 1 - np.clip(blocked, 0, 1)


class GroundShade:
    """Shadows on the ground, uint8 (H, W): `cast` by the sun, `contact` under things."""

    def __init__(self, camera: DriveCamera, street: Street, toward_sun: np.ndarray) -> None:
        self.camera, self.street = camera, street
        self.cast: np.ndarray = np.zeros((camera.height, camera.width), np.uint8)
        self.contact: np.ndarray = np.zeros_like(self.cast)
        lean = -np.asarray(toward_sun[:2]) / max(toward_sun[2], 0.12)
        self.lean = lean * min(1.0, 3.0 / max(np.hypot(*lean), 1e-6))

    def crown(self, s: float, lateral: float, radius: float, height: float) -> None:
        """Shadow of a tree crown with its middle at `height` metres."""
        ring = np.linspace(0, 2 * np.pi, 18, endpoint=False)
        wobble = 1 + 0.18 * np.sin(3 * ring + s) + 0.12 * np.sin(7 * ring + 2 * s)
        stretch = 1 + 0.5 * np.abs(self.lean)
        at_s = s + self.lean[0] * height + np.cos(ring) * radius * wobble * stretch[0]
        at_l = lateral + self.lean[1] * height + np.sin(ring) * radius * wobble * stretch[1]
        self._fill(self.cast, at_s, at_l + self.street.centre(s), KERB, 210)

    def column(self, s: float, y: float, height: float, z: float) -> None:
        """Shadow of a person or post `height` metres high."""
        ring = np.linspace(0, 2 * np.pi, 10, endpoint=False)
        self._fill(self.contact, s + 0.24 * np.cos(ring), y + 0.3 * np.sin(ring), z, 150)
        tip_s, tip_y = s + self.lean[0] * height, y + self.lean[1] * height
        thick = 0.13
        across = np.array([-self.lean[1], self.lean[0]])
        across = across / max(np.hypot(*across), 1e-6) * thick
        self._fill(
            self.cast,
            np.array([s - across[0], s + across[0], tip_s + across[0], tip_s - across[0]]),
            np.array([y - across[1], y + across[1], tip_y + across[1], tip_y - across[1]]),
            z,
            230,
        )

    def box(self, corners: np.ndarray, height: float, z: float) -> None:
        """Shadow of a vehicle; `corners` (4, 2): its footprint (s, y)."""
        middle = corners.mean(0)
        wide = middle + (corners - middle) * np.array([1.03, 1.12])
        self._fill(self.contact, wide[:, 0], wide[:, 1], z, 255)
        top = corners + self.lean * height * 0.85
        both = np.concatenate([corners, top]).astype(np.float32)
        hull = cv2.convexHull(both)[:, 0]
        self._fill(self.cast, hull[:, 0], hull[:, 1], z, 255)

    def _fill(self, mask: np.ndarray, s: np.ndarray, y: np.ndarray, z: float, value: int) -> None:
        camera = self.camera
        depth = s - camera.s
        if depth.max() < NEAR + 0.2 or depth.min() > 120:
            return
        depth = np.maximum(depth, NEAR)
        u = camera.cx + camera.focal * (y - camera.y) / depth
        v = camera.cy + camera.focal * (camera.z - z) / depth
        points = np.column_stack([u, v])
        if points[:, 0].max() < 0 or points[:, 0].min() > camera.width:
            return
        points = np.clip(points * 8, -1e7, 1e7).astype(np.int32)
        cv2.fillPoly(mask, [points], value, cv2.LINE_AA, 3)

    def soften(self) -> None:
        width = max(0.6, self.camera.width / 420)
        self.cast = cv2.GaussianBlur(self.cast, (0, 0), width * 0.7)
        self.contact = cv2.GaussianBlur(self.contact, (0, 0), width * 1.6)
