"""The things on a street and their places."""

from dataclasses import dataclass, field
from typing import Any

from dgss_core.synthetic.canvas import Sprite
from dgss_core.synthetic.raster import Texture
from dgss_core.synthetic.vehicles import Vehicle

KERB = 0.12
"""Height of the sidewalk above the road, metres."""
CORNER = 2.5
"""Width of the sidewalk along a side street, metres."""


@dataclass(frozen=True)
class Standing:
    """A sprite at (s, lateral) in metres; `z` is the height of its foot."""

    sprite: Sprite
    s: float
    lateral: float
    z: float = KERB
    scale: float = 1.0


@dataclass(frozen=True)
class Parked:
    """A vehicle with its rear at (s, lateral); `heading`: +1 ahead, -1 back, +-2 across."""

    vehicle: Vehicle
    s: float
    lateral: float
    heading: int
    z: float = 0.0


@dataclass
class Block:
    """One stretch of street [start, end) in metres; a crossing lies at its start."""

    start: float
    end: float
    crossing: float
    """Width of the side street in metres, 0 without one."""
    kinds: dict[int, str]
    quads: list[tuple[Any, Texture | None, int]] = field(default_factory=list)
    """(corners (3 or 4, 3), texture, label): corners as (s, lateral, z), then as world points."""
    standing: list[Standing] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    lamps: list[tuple[float, float, float]] = field(default_factory=list)
    """(s, lateral, z)"""
    crowns: list[tuple[float, float, float, float]] = field(default_factory=list)
    """Tree crowns that cast shadows: (s, lateral, radius, height of the middle)."""
    skyline: dict[int, list[tuple[float, float, float, float]]] = field(
        default_factory=lambda: {-1: [], 1: []}
    )
    """Per side: (start, end, front, height) of the first row of buildings."""
