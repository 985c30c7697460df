"""The things on a street and their places."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from dgss_core.labels import IGNORE
from dgss_core.synthetic.canvas import Sprite
from dgss_core.synthetic.curve import Curve
from dgss_core.synthetic.projection import unit_normals
from dgss_core.synthetic.raster import UPRIGHT, Face
from dgss_core.synthetic.texture import Texture
from dgss_core.synthetic.vehicles import PlacedVehicle, Vehicle

KERB = 0.12
"""Height of the sidewalk above the road, metres."""
CORNER = 2.5
"""Width of the sidewalk along a side street, metres."""
_FLAT_PLASTER = (168, 158, 146)


@dataclass(frozen=True)
class Standing:
    """A sprite at (s, lateral) in metres; `z` is the height of its foot."""

    sprite: Sprite
    s: float
    lateral: float
    z: float = KERB
    scale: float = 1.0

    @property
    def height(self) -> float:
        return self.sprite.height * self.scale

    def face(self, y: float) -> Face:
        """It across the street, with its middle at `y`."""
        half, top = self.sprite.width * self.scale / 2, self.z + self.height
        s, z, left, right = self.s, self.z, y - half, y + half
        corners = np.array([(s, left, top), (s, right, top), (s, right, z), (s, left, z)])
        return Face(corners, self.sprite.texture, IGNORE, UPRIGHT)


@dataclass(frozen=True)
class Parked:
    """A vehicle with its rear at (s, lateral); `heading`: +1 ahead, -1 back, +-2 across."""

    vehicle: Vehicle
    s: float
    lateral: float
    heading: int
    z: float = 0.0

    def placed(self, curve: Curve) -> PlacedVehicle:
        at = np.array([self.s, float(curve.centre(self.s)) + self.lateral, self.z])
        sign = np.sign(self.heading)
        if abs(self.heading) == 1:
            middle = self.s + sign * self.vehicle.length / 2
            forward = sign * np.array([1.0, float(curve.slope(middle)), 0.0])
            right = sign * np.array([0.0, 1.0, 0.0])
        else:
            forward = sign * np.array([0.0, 1.0, 0.0])
            right = sign * np.array([-1.0, 0.0, 0.0])
        return self.vehicle.placed(at, forward, right)


class Crown(NamedTuple):
    """A tree crown that casts a shadow: its middle at (s, lateral) and `height`, in metres."""

    s: float
    lateral: float
    radius: float
    height: float


class Walls(NamedTuple):
    """The flat surfaces of a block.

    `faces`: each as seen from behind and from before its normal. `reach` (n, 2): from and to along
    the street. `corners`, `normals` (n, 3): the first corner and the normal of each.
    """

    faces: list[tuple[Face, Face]]
    reach: np.ndarray
    corners: np.ndarray
    normals: np.ndarray


@dataclass
class Block:
    """One stretch of street [start, end) in metres; a crossing lies at its start."""

    start: float
    end: float
    crossing: float
    """Width of the side street in metres, 0 without one."""
    kinds: dict[int, str]
    curve: Curve
    """The centre line of the street."""
    quads: list[tuple[Any, Texture | None, int]] = field(default_factory=list)
    """(corners (3 or 4, 3), texture, label): corners as (s, lateral, z)."""
    standing: list[Standing] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    lamps: list[tuple[float, float, float]] = field(default_factory=list)
    """(s, lateral, z)"""
    crowns: list[Crown] = field(default_factory=list)
    skyline: dict[int, list[tuple[float, float, float, float]]] = field(
        default_factory=lambda: {-1: [], 1: []}
    )
    """Per side: (start, end, front, height) of the first row of buildings."""

    # What follows is the same in every frame.

    @cached_property
    def walls(self) -> Walls:
        """The quads as faces in the world."""
        faces, reach, first, normals = [], [], [], []
        for corners, texture, label in self.quads:
            points = np.array(corners, np.float64)
            points[:, 1] += self.curve.centre(points[:, 0])
            normal = unit_normals(points[1] - points[0], points[-1] - points[0])
            paint = _FLAT_PLASTER if texture is None else texture
            front = Face(points, paint, label, normal)
            faces.append((front._replace(normal=-normal), front))
            reach.append((points[:, 0].min(), points[:, 0].max()))
            first.append(points[0])
            normals.append(normal)
        arrays = (np.array(a).reshape(len(faces), -1) for a in (reach, first, normals))
        return Walls(faces, *arrays)

    @cached_property
    def sprites(self) -> list[tuple[Standing, float, Face]]:
        """What stands here, with y of its middle."""
        found = []
        for thing in self.standing:
            y = float(self.curve.centre(thing.s)) + thing.lateral
            found.append((thing, y, thing.face(y)))
        return found

    @cached_property
    def vehicles(self) -> list[tuple[Parked, PlacedVehicle]]:
        return [(parked, parked.placed(self.curve)) for parked in self.parked]
