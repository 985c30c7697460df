"""Everything that moves, as a function of time only: any frame can be rendered alone."""

import numpy as np

from dgss_core.synthetic.noise import Random, stream
from dgss_core.synthetic.things import KERB, Block, Parked, Standing
from dgss_core.synthetic.vehicles import Vehicle
from dgss_core.synthetic.world import Street

SPEED = 8.0
"""Mean speed of the ego vehicle, m/s."""


def ego_position(street: Street, time: float) -> tuple[float, float]:
    """(s, lateral) of the camera in metres: in the right-hand lane, at 7.1 to 8.9 m/s."""
    style = street.style
    start = 200.0 + 37.0 * (style.seed % 17)
    s = start + SPEED * time + 2.9 * np.sin(0.31 * time)
    return s, style.lane / 2 + 0.12 * np.sin(0.23 * time + style.seed)


class Traffic:
    """Moving vehicles, riders and walkers of a street."""

    def __init__(self, street: Street) -> None:
        self.street, self.style, self.stock = street, street.style, street.stock

    def vehicles(self, time: float, start: float, end: float) -> list[Parked]:
        """Oncoming traffic, trams and the vehicle ahead in the ego lane."""
        found = []
        for k, s in _convoy(time, -9.5, 34.0, start, end):
            rng = stream(self.style.seed, 20, k)
            if rng.random() < 0.35 + 0.5 * self.style.cars:
                found.append(Parked(self._pick(rng), s + rng.uniform(0, 18), -self._lane(), -1))
        ego, _ = ego_position(self.street, time)
        episode, phase = divmod(time / 60.0 + self.style.seed % 7 * 0.21, 1.0)
        rng = stream(self.style.seed, 21, int(episode))
        if rng.random() < 0.75:
            gap = rng.uniform(9, 26) + 110 * abs(2 * phase - 1) ** 2.2
            found.append(Parked(self._pick(rng), ego + gap, self._lane(), 1))
        return [v for v in found if start < v.s < end]

    def _lane(self) -> float:
        return self.style.lane / 2

    def _pick(self, rng: Random) -> Vehicle:
        draw, stock = rng.random(), self.stock
        if self.style.tracks and draw < 0.16:
            return stock.trams[0]
        pool = stock.cars
        if draw > 0.93:
            pool = stock.buses
        elif draw > 0.84:
            pool = stock.trucks
        return pool[rng.integers(len(pool))]

    def riders(self, time: float, start: float, end: float) -> list[Standing]:
        """Cyclists and motorcyclists along both edges of the driving lanes."""
        found = []
        lateral = self.style.lane + min(self.style.margin, 0.6) / 2
        for key, speed, side in ((22, 4.6, 1), (23, -5.0, -1)):
            for k, s in _convoy(time, speed, 42.0, start, end):
                rng = stream(self.style.seed, key, k)
                if rng.random() > 0.5:
                    continue
                pool = self.stock.cyclists if rng.random() < 0.75 else self.stock.bikers
                gait = pool[rng.integers(len(pool))]
                shown = gait[int(time * 4 + k) % len(gait)]
                found.append(Standing(shown, s + rng.uniform(0, 25), side * lateral, 0.0))
        return found

    def walkers(self, time: float, start: float, end: float) -> list[Standing]:
        """People on the sidewalks and, far ahead, on zebra crossings."""
        found = []
        style = self.style
        inner, outer = style.half_road + style.strip + 0.5, style.front - 0.5
        for lane, (side, speed) in enumerate(((1, 1.25), (1, -1.4), (-1, 1.35), (-1, -1.15))):
            for k, s in _convoy(time, speed, 11.0, start, end):
                rng = stream(style.seed, 30 + lane, k)
                if rng.random() < 0.62 * style.people:
                    lateral = side * rng.uniform(inner, outer)
                    s += rng.uniform(0, 11)
                    for mate in range(2 if rng.random() < 0.2 else 1):
                        found.append(self._walker(rng, time, s + 0.4 * mate, lateral + 0.7 * mate))
        ego, _ = ego_position(self.street, time)
        for block in self.street.blocks(start, end):
            found += self._crossing(block, time, ego)
        return found

    def _walker(
        self, rng: Random, time: float, s: float, lateral: float, z: float = KERB
    ) -> Standing:
        gait = self.stock.people[rng.integers(len(self.stock.people))]
        shown = gait[int(time * 5 + rng.integers(4)) % len(gait)]
        return Standing(shown, s, lateral, z, rng.uniform(0.88, 1.05))

    def _crossing(self, block: Block, time: float, ego: float) -> list[Standing]:
        rng = stream(self.style.seed, 40, round(block.start / self.style.block))
        if not block.crossing or rng.random() > 0.7:
            return []
        found, width = [], self.style.half_road + 1
        for _ in range(rng.integers(1, 4)):
            lead = (block.start - 2.5 - ego) / SPEED - rng.uniform(3, 7)
            lateral = np.clip(-width + 1.4 * lead, -width, width) * rng.choice([-1, 1])
            z = KERB if abs(lateral) > self.style.half_road else 0.0
            found.append(self._walker(rng, time, block.start - rng.uniform(1.5, 4), lateral, z))
        return found


def _convoy(
    time: float, speed: float, spacing: float, start: float, end: float
) -> list[tuple[int, float]]:
    """Places (k, s) within [start, end] of an endless row that moves at `speed` m/s."""
    shift = speed * time
    first = int(np.ceil((start - shift) / spacing))
    last = int(np.floor((end - shift) / spacing))
    return [(k, k * spacing + shift) for k in range(first, last + 1)]
