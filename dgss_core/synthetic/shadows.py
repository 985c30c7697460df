"""Sun shadows of buildings, trees and vehicles, and contact shadows under things."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import cv2
import numpy as np

from dgss_core.synthetic.camera import DriveCamera
from dgss_core.synthetic.curve import Curve
from dgss_core.synthetic.projection import NEAR
from dgss_core.synthetic.things import KERB, Block, Crown
from dgss_core.synthetic.world import Street


def building_shadow(
    street: Street, blocks: list[Block], toward_sun: np.ndarray
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """A function: the share of sunlight that the first rows of buildings let through, (h, w).

    It takes `s`, `lateral`, `z` (h, w) in metres. A point is in shadow if its ray to the sun
    crosses the building front on the sun's side below the roof line.
    """
    side = 1 if toward_sun[1] > 0 else -1
    start, end = blocks[0].start - 40, blocks[-1].end + 40
    roof = np.zeros(int(end - start) + 2, np.float32)
    front = street.style.front + 1.0
    for block in street.blocks(start, end):
        for s0, s1, _, height in block.skyline[side]:
            i, j = (int(np.clip(v - start, 0, len(roof))) for v in (s0, s1))
            roof[i:j] = height

    def let_through(s: np.ndarray, lateral: np.ndarray, z: np.ndarray) -> np.ndarray:
        if abs(toward_sun[1]) < 0.05:
            return np.ones(s.shape, np.float32)
        run = np.maximum((side * front - lateral) / toward_sun[1], 0)
        index = np.clip(s + run * toward_sun[0] - start, 0, len(roof) - 1).astype(np.int32)
        rise = z + run * toward_sun[2]
        blocked = (roof[index] - rise) * 3
        return 1 - np.clip(blocked, 0, 1)

    return let_through


class Column(NamedTuple):
    """A person or a post `height` metres high, with its foot at (s, y, z)."""

    s: float
    y: float
    height: float
    z: float


class Box(NamedTuple):
    """A vehicle; `corners` (4, 2): its footprint (s, y) at `z`, in metres."""

    corners: np.ndarray
    height: float
    z: float


class _Patch(NamedTuple):
    """A polygon on the ground: corners (s, y), height, and how dark it is in 0 to 255."""

    s: np.ndarray
    y: np.ndarray
    z: float
    value: int


class GroundShade:
    """Shadows on the ground of what stands there, in the order in which it is added."""

    def __init__(self, camera: DriveCamera, curve: Curve) -> None:
        self.camera, self.curve = camera, curve
        self.things: list[Crown | Column | Box] = []
        self._soft = max(0.6, camera.width / 420)

    def contact(self) -> np.ndarray:
        """Shadows where things touch the ground, uint8 (H, W)."""
        patches, ring = [], _ring(10)
        along, beside = 0.24 * np.cos(ring), 0.3 * np.sin(ring)
        for thing in self.things:
            if isinstance(thing, Column):
                patches.append(_Patch(thing.s + along, thing.y + beside, thing.z, 150))
            elif isinstance(thing, Box):
                middle = thing.corners.mean(0)
                wide = middle + (thing.corners - middle) * np.array([1.03, 1.12])
                patches.append(_Patch(wide[:, 0], wide[:, 1], thing.z, 255))
        return cv2.GaussianBlur(self._filled(patches), (0, 0), self._soft * 1.6)

    def cast(self, toward_sun: np.ndarray) -> np.ndarray:
        """Shadows of the sun, uint8 (H, W); `toward_sun`: unit vector (s, y, z)."""
        lean = -np.asarray(toward_sun[:2]) / max(toward_sun[2], 0.12)
        lean = lean * min(1.0, 3.0 / max(np.hypot(*lean), 1e-6))
        across = np.array([-lean[1], lean[0]])
        across = across / max(np.hypot(*across), 1e-6) * 0.13
        patches = []
        for thing in self.things:
            if isinstance(thing, Crown):
                patches.append(self._of_crown(thing, lean))
            elif isinstance(thing, Column):
                patches.append(_of_column(thing, lean, across))
            else:
                patches.append(_of_box(thing, lean))
        return cv2.GaussianBlur(self._filled(patches), (0, 0), self._soft * 0.7)

    def _of_crown(self, crown: Crown, lean: np.ndarray) -> _Patch:
        s, ring, radius = crown.s, _ring(18), crown.radius
        wobble = 1 + 0.18 * np.sin(3 * ring + s) + 0.12 * np.sin(7 * ring + 2 * s)
        stretch = 1 + 0.5 * np.abs(lean)
        at_s = s + lean[0] * crown.height + np.cos(ring) * radius * wobble * stretch[0]
        at_l = crown.lateral + lean[1] * crown.height
        at_l = at_l + np.sin(ring) * radius * wobble * stretch[1]
        return _Patch(at_s, at_l + self.curve.centre(s), KERB, 210)

    def _filled(self, patches: Iterable[_Patch]) -> np.ndarray:
        camera = self.camera
        mask: np.ndarray = np.zeros((camera.height, camera.width), np.uint8)
        for s, y, z, value in patches:
            depth = s - camera.s
            if depth.max() < NEAR + 0.2 or depth.min() > 120:
                continue
            depth = np.maximum(depth, NEAR)
            u = camera.cx + camera.focal * (y - camera.y) / depth
            v = camera.cy + camera.focal * (camera.z - z) / depth
            if u.max() < 0 or u.min() > camera.width:
                continue
            points = np.clip(np.stack([u, v], 1) * 8, -1e7, 1e7).astype(np.int32)
            cv2.fillPoly(mask, [points], value, cv2.LINE_AA, 3)
        return mask


def _ring(count: int) -> np.ndarray:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _of_column(column: Column, lean: np.ndarray, across: np.ndarray) -> _Patch:
    s, y, height, z = column
    tip_s, tip_y = s + lean[0] * height, y + lean[1] * height
    return _Patch(
        np.array([s - across[0], s + across[0], tip_s + across[0], tip_s - across[0]]),
        np.array([y - across[1], y + across[1], tip_y + across[1], tip_y - across[1]]),
        z,
        230,
    )


def _of_box(box: Box, lean: np.ndarray) -> _Patch:
    top = box.corners + lean * box.height * 0.85
    both = np.concatenate([box.corners, top]).astype(np.float32)
    hull = cv2.convexHull(both)[:, 0]
    return _Patch(hull[:, 0], hull[:, 1], box.z, 255)
