"""One side of a block: buildings, gardens, street furniture and parked vehicles."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from dgss_core.synthetic.classes import BUILDING, FENCE, VEGETATION, WALL
from dgss_core.synthetic.facades import facade
from dgss_core.synthetic.noise import Random
from dgss_core.synthetic.style import Stock, Style
from dgss_core.synthetic.texture import Texture
from dgss_core.synthetic.things import CORNER, KERB, Block, Crown, Parked, Standing

Put = Callable[[Standing], None]


class Roadside:
    """Builds one side of a block; `side`: +1 right of the road, -1 left of it.

    s0, s1: from and to along the street; near, far, lateral: distance from the centre line;
    all in metres.
    """

    def __init__(self, style: Style, stock: Stock, block: Block, side: int, rng: Random) -> None:
        self.style, self.stock = style, stock
        self.b, self.side, self.rng = block, side, rng
        corner = CORNER if block.crossing else 0.0
        self.first = block.start + block.crossing + corner
        self.last = block.end - CORNER

    def build(self) -> None:
        kind = self.b.kinds[self.side]
        builders = {
            'town': self._town,
            'houses': self._houses,
            'park': self._park,
            'works': self._works,
        }
        builders[kind]()
        self._second_row()
        self._furniture(kind)
        self._parking()

    def box(
        self,
        s0: float,
        s1: float,
        near: float,
        far: float,
        height: float,
        kind: str,
        z: float = KERB,
    ) -> None:
        """A building: the face on the street and the end that faces the camera."""
        side, rng, noise = self.side, self.rng, self.stock.noise
        texture = facade(rng, kind, noise, width=s1 - s0, height=height)
        depth = min(far - near, 12)
        end = facade(rng, kind, noise, width=depth, height=height, blind=True)
        a, b = side * near, side * far
        top = z + height
        add = self.b.quads.append
        add(([(s0, a, top), (s1, a, top), (s1, a, z), (s0, a, z)], texture, BUILDING))
        add(([(s0, a, top), (s0, b, top), (s0, b, z), (s0, a, z)], end, BUILDING))

    def gable(self, s0: float, s1: float, near: float, height: float, pitch: float) -> None:
        """A pitched roof with its ridge along the street."""
        roof = self.stock.roofs[self.rng.integers(3)]
        side, eaves, ridge = self.side, height + KERB - 0.15, height + KERB + pitch
        a, b, s0, s1 = side * (near - 0.4), side * (near + 4.5), s0 - 0.3, s1 + 0.3
        far = side * (near + 9.4)
        self.b.quads.append(
            ([(s0, b, ridge), (s1, b, ridge), (s1, a, eaves), (s0, a, eaves)], roof, BUILDING)
        )
        self.b.quads.append(([(s0, b, ridge), (s0, far, eaves), (s0, a, eaves)], None, BUILDING))

    def line(
        self,
        s0: float,
        s1: float,
        lateral: float,
        height: float,
        texture: Texture,
        label: int,
        every: float = 4.0,
    ) -> None:
        """A fence, wall or hedge along the street, in pieces of about `every` metres."""
        pieces = max(1, round((s1 - s0) / every))
        cuts = np.linspace(s0, s1, pieces + 1)
        y, top = self.side * lateral, KERB + height
        for a, b in pairwise(cuts):
            self.b.quads.append(
                ([(a, y, top), (b, y, top), (b, y, KERB), (a, y, KERB)], texture, label)
            )

    def border(self, s0: float, s1: float, lateral: float) -> None:
        """The front of a garden: a fence, a wall, a hedge or nothing."""
        rng, stock = self.rng, self.stock
        kind = rng.integers(4)
        if s1 - s0 < 0.5:
            return
        if kind == 0:
            height = rng.uniform(1.0, 1.9)
            self.line(s0, s1, lateral, height, stock.fences[rng.integers(3)], FENCE)
        elif kind == 1:
            height = rng.uniform(0.8, 2.1)
            self.line(s0, s1, lateral, height, stock.walls[rng.integers(3)], WALL)
        elif kind == 2:
            height = rng.uniform(0.9, 1.9)
            hedge = stock.hedges[rng.integers(2)]
            self.line(s0, s1, lateral, height, hedge, VEGETATION)
            self._hedge_end(s0, lateral, height, hedge)

    def _hedge_end(self, s0: float, lateral: float, height: float, hedge: Texture) -> None:
        y, far, top = self.side * lateral, self.side * (lateral + 0.8), KERB + height
        self.b.quads.append(
            ([(s0, y, top), (s0, far, top), (s0, far, KERB), (s0, y, KERB)], hedge, VEGETATION)
        )

    def tree(self, s: float, lateral: float, scale: float = 1.0) -> None:
        tree = self.stock.trees[self.rng.integers(len(self.stock.trees))]
        self.b.standing.append(Standing(tree, s, self.side * lateral, KERB, scale))
        self.b.crowns.append(
            Crown(s, self.side * lateral, tree.width * 0.42 * scale, tree.height * 0.62 * scale)
        )

    def _town(self) -> None:
        rng, front, s = self.rng, self.style.front, self.first
        while s < self.last - 5:
            s1 = min(s + rng.uniform(8, 19), self.last)
            if self.last - s1 < 5:
                s1 = self.last
            near, height = front + rng.choice([0, 0, 0.5, 1.5]), rng.uniform(6.5, 21)
            self.box(s, s1, near, near + 14, height, rng.choice(['town', 'town', 'office']))
            self.b.skyline[self.side].append((s, s1, near, height))
            s = s1
            if rng.random() < 0.16:
                gap = rng.uniform(3, 8)
                self.border(s, min(s + gap, self.last), front + 0.3)
                if rng.random() < 0.6:
                    self.tree(s + gap / 2, front + rng.uniform(2.5, 6))
                s += gap

    def _houses(self) -> None:
        rng, front, s = self.rng, self.style.front, self.first + self.rng.uniform(0, 4)
        setback = rng.uniform(2.5, 7)
        while s < self.last - 7:
            s1 = min(s + rng.uniform(8, 13), self.last)
            near, height = front + setback + rng.uniform(-1, 1), rng.uniform(3.2, 7)
            self.box(s, s1, near, near + 9, height, 'house')
            self.gable(s, s1, near, height, rng.uniform(2.2, 4.2))
            self.b.skyline[self.side].append((s, s1, near, height + 2))
            gap = rng.uniform(3, 9)
            self.border(s - gap / 2, s1 + gap / 2 - 1.2, front + 0.3)
            for _ in range(rng.integers(0, 3)):
                plant = self.stock.bushes[rng.integers(3)]
                lateral = self.side * (front + rng.uniform(1, setback))
                self.b.standing.append(Standing(plant, rng.uniform(s, s1), lateral))
            if rng.random() < self.style.trees:
                self.tree(rng.uniform(s, s1 + gap), front + rng.uniform(1.5, setback + 4))
            s = s1 + gap

    def _park(self) -> None:
        rng, front = self.rng, self.style.front
        self.border(self.first, self.last, front + 0.3)
        for _ in range(int(0.13 * (self.last - self.first) * (0.6 + self.style.trees))):
            self.tree(
                rng.uniform(self.first, self.last),
                front + rng.uniform(2, 22),
                rng.uniform(0.8, 1.35),
            )
        for _ in range(5):
            plant = self.stock.bushes[rng.integers(3)]
            lateral = self.side * (front + rng.uniform(1, 12))
            self.b.standing.append(Standing(plant, rng.uniform(self.first, self.last), lateral))

    def _works(self) -> None:
        rng, front, s = self.rng, self.style.front, self.first
        tall, stock = rng.uniform(1.6, 2.6), self.stock
        if rng.random() < 0.6:
            self.line(s, self.last, front + 0.2, tall, stock.walls[rng.integers(3)], WALL)
        else:
            self.line(s, self.last, front + 0.2, tall, stock.fences[rng.integers(3)], FENCE)
        while s < self.last - 14:
            s1 = min(s + rng.uniform(18, 34), self.last)
            near, height = front + rng.uniform(4, 9), rng.uniform(6, 12)
            self.box(s, s1, near, near + 14, height, 'works')
            self.b.skyline[self.side].append((s, s1, near, height))
            s = s1 + rng.uniform(2, 10)

    def _second_row(self) -> None:
        """The buildings and trees behind gaps and at the ends of the side street."""
        rng, front, s = self.rng, self.style.front, self.first
        distance = front + rng.uniform(26, 36)
        while s < self.last - 6:
            s1 = s + rng.uniform(12, 26)
            if rng.random() < 0.75:
                height = rng.uniform(6, 19)
                self.box(s, s1, distance, distance + 10, height, 'town', 0.0)
            else:
                self.tree(rng.uniform(s, s1), distance - 2, 1.3)
            s = s1 + rng.choice([0, 0, 6])
        if self.b.crossing:
            end, height = self.b.start + self.b.crossing, rng.uniform(7, 16)
            self.box(self.b.start - 6, end + 6, front + 64, front + 76, height, 'town', 0.0)

    def _furniture(self, kind: str) -> None:
        rng, style, stock, side = self.rng, self.style, self.stock, self.side
        edge = style.half_road + 0.55
        put = self.b.standing.append
        pitch = rng.uniform(7, 13)
        for s in np.arange(self.first + 3, self.last - 2, pitch):
            if kind != 'park' and rng.random() < style.trees * 0.75:
                lateral = edge + max(0.3, style.strip / 2)
                self.tree(s + rng.normal(0, 0.5), lateral, rng.uniform(0.7, 1.0))
        for s in np.arange(self.first + 1 + (side > 0) * 13, self.last, 27.0):
            put(Standing(stock.lamps[side], s, side * edge))
            self.b.lamps.append((s, side * (edge - 1.7), 6.9))
        for _ in range(rng.integers(1, 5)):
            s = rng.uniform(self.first, self.last)
            put(Standing(stock.signs[rng.integers(len(stock.signs))], s, side * (edge - 0.05)))
        if rng.random() < 0.4:
            for s in np.arange(self.first + 8, self.last, 31.0):
                put(Standing(stock.poles[0], s, side * (edge + 0.4)))
        if rng.random() < 0.4:
            start = rng.uniform(self.first, self.last - 10)
            for s in np.arange(start, start + 10, 1.8):
                put(Standing(stock.poles[1], s, side * (edge - 0.25)))
        for _ in range(rng.integers(0, 4)):
            pool = stock.bicycles if rng.random() < 0.72 else stock.motorcycles
            lateral = side * (style.front - rng.uniform(0.9, 1.3))
            put(
                Standing(
                    pool[rng.integers(len(pool))], rng.uniform(self.first, self.last), lateral
                )
            )
        if self.b.crossing:
            self._junction(put, edge)

    def _junction(self, put: Put, edge: float) -> None:
        rng, stock, side = self.rng, self.stock, self.side
        if rng.random() < 0.7:
            light = stock.lights[rng.choice(3, p=[0.4, 0.1, 0.5])]
            put(Standing(light, self.b.start - 0.7, side * edge))
            put(Standing(light, self.b.start + self.b.crossing + 1.2, side * edge))
        else:
            sign = stock.signs[rng.integers(len(stock.signs))]
            put(Standing(sign, self.b.start - 1, side * (edge + 0.2)))
        if rng.random() < 0.5:
            middle = self.b.start + self.b.crossing / 2
            car = stock.cars[rng.integers(len(stock.cars))]
            toward = rng.random() < 0.5
            lateral = self.style.half_road + rng.uniform(3, 14) + (car.length if toward else 0)
            lane = middle + 1.7 * (1 if toward == (side > 0) else -1)
            self.b.parked.append(
                Parked(car, lane, side * lateral, 2 * side * (-1 if toward else 1))
            )

    def _parking(self) -> None:
        rng, style, stock = self.rng, self.style, self.stock
        if not style.parking[int(self.side > 0)]:
            return
        s = self.first + 3
        while s < self.last - 9:
            car = stock.cars[rng.integers(len(stock.cars))]
            if rng.random() < 0.04:
                car = stock.trucks[rng.integers(2)]
            if s + car.length < self.last - 3 and rng.random() < style.cars:
                heading = self.side if rng.random() < 0.9 else -self.side
                at = s if heading > 0 else s + car.length
                lateral = self.side * (style.half_road - car.width / 2 - rng.uniform(0.08, 0.25))
                self.b.parked.append(Parked(car, at, lateral, heading))
            s += car.length + rng.uniform(0.9, 2.2)
