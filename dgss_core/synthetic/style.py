"""The properties of one seed: dimensions of the street, its camera and its stock of things."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from dgss_core.synthetic import living, sprites, surfaces, vehicles
from dgss_core.synthetic.canvas import Sprite, sprite_later
from dgss_core.synthetic.noise import Random, fractal, stream

KINDS = ('town', 'houses', 'park', 'works')


@dataclass
class Style:
    """Lengths in metres, angles in radians; drawn once per seed."""

    seed: int
    lane: float = 3.2
    parking: tuple[bool, bool] = (True, True)
    """Left and right of the road."""
    margin: float = 0.5
    strip: float = 0.0
    """Width of the grass strip between kerb and sidewalk."""
    walk: float = 3.0
    block: float = 90.0
    bends: np.ndarray = field(default_factory=lambda: np.zeros((2, 3)))
    """(2, 3): amplitude and wavelength in metres, and phase, of the waves of the centre line."""
    kinds: np.ndarray = field(default_factory=lambda: np.full(4, 0.25))
    trees: float = 0.6
    people: float = 0.5
    cars: float = 0.6
    tracks: bool = False
    mirrored: bool = False
    bonnet: float = 0.0
    eye: float = 1.4
    view: float = 1.15
    """Horizontal field of view."""
    pitch: float = 0.0
    sun_azimuth: float = 0.0
    sun_height: float = 0.7
    clouds: float = 0.5
    lamp_warmth: float = 0.5

    @property
    def half_road(self) -> float:
        return self.lane + self.margin + (2.1 if any(self.parking) else 0.0)

    @property
    def front(self) -> float:
        """Lateral distance of the outer edge of the sidewalk, metres."""
        return self.half_road + self.strip + self.walk


def draw_style(seed: int) -> Style:
    """Draw the style of a seed."""
    rng = stream(seed, 1)
    slopes, waves = rng.uniform(0, [0.13, 0.06]), rng.uniform([260, 110], [600, 200])
    bends = np.column_stack([slopes * waves / (2 * np.pi), waves, rng.uniform(0, 2 * np.pi, 2)])
    return Style(
        seed=seed,
        lane=rng.uniform(2.6, 3.5),
        parking=(bool(rng.random() < 0.55), bool(rng.random() < 0.6)),
        margin=rng.uniform(0.1, 1.1),
        strip=rng.uniform(0.9, 2.0) if rng.random() < 0.4 else 0.0,
        walk=rng.uniform(2.0, 5.5),
        block=rng.uniform(66, 112),
        bends=bends,
        kinds=rng.dirichlet([1.3, 0.9, 0.5, 0.4]),
        trees=rng.uniform(0.25, 1.0),
        people=rng.uniform(0.4, 1.2),
        cars=rng.uniform(0.4, 0.95),
        tracks=bool(rng.random() < 0.25),
        mirrored=bool(rng.random() < 0.25),
        bonnet=rng.uniform(0.04, 0.12) if rng.random() < 0.25 else 0.0,
        eye=rng.uniform(1.2, 1.65),
        view=np.deg2rad(rng.uniform(56, 82)),
        pitch=np.deg2rad(rng.uniform(-2.5, 3.5)),
        sun_azimuth=rng.uniform(0, 2 * np.pi),
        sun_height=np.deg2rad(rng.uniform(22, 62)),
        clouds=rng.uniform(0, 1),
        lamp_warmth=rng.uniform(0, 1),
    )


class Stock:
    """The textures, sprites and vehicles of one seed."""

    def __init__(self, seed: int) -> None:
        rng = stream(seed, 2)
        self.noise = fractal(rng, 512)
        self.ground = (surfaces.asphalt(rng), surfaces.paving(rng), surfaces.grass(rng))
        self.roofs = [surfaces.roof_tiles(rng) for _ in range(3)]
        self.walls = [surfaces.garden_wall(rng, self.noise) for _ in range(3)]
        self.fences = [surfaces.fence(rng) for _ in range(3)]
        self.hedges = [surfaces.hedge(rng) for _ in range(2)]
        self.trees = [living.tree(rng) for _ in range(7)]
        self.bushes = [living.bush(rng) for _ in range(3)]
        self.people = [self._gait(rng, living.person, living.PERSON_SIZE) for _ in range(7)]
        self.cyclists = [self._gait(rng, living.cyclist, living.CYCLIST_SIZE) for _ in range(3)]
        self.bikers = [[living.cyclist(rng, 0.0, motor=True)] for _ in range(2)]
        self.bicycles = [sprites.parked_bicycle(rng) for _ in range(3)]
        self.motorcycles = [sprites.parked_bicycle(rng, motor=True) for _ in range(2)]
        self.signs = [sprites.sign(rng) for _ in range(7)]
        self.lights = [sprites.traffic_light(rng, state) for state in (0, 1, 2)]
        self.lamps = {side: sprites.street_lamp(rng, side) for side in (-1, 1)}
        self.poles = [sprites.utility_pole(rng), sprites.bollard(rng)]
        kinds = rng.permutation(['sedan', 'hatch', 'hatch', 'suv', 'sedan', 'suv', 'hatch', 'van'])
        self.cars = [vehicles.make(rng, str(kind)) for kind in kinds]
        self.trucks = [vehicles.make(rng, 'truck') for _ in range(2)]
        self.buses = [vehicles.make(rng, 'bus') for _ in range(2)]
        self.trams = [vehicles.make(rng, 'tram')]

    @staticmethod
    def _gait(
        rng: Random, make: Callable[[Random, float], Sprite], size: dict[str, float]
    ) -> list[Sprite]:
        """Four phases of the same person, each from the same random stream."""
        seed = int(rng.integers(2**31))

        def draw(phase: int) -> Sprite:
            return make(stream(seed, 3), phase / 4)

        return [sprite_later(partial(draw, phase), **size) for phase in range(4)]
