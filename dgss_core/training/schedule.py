"""Learning rates as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dgss_core.errors import DgssError


@dataclass
class Schedule:
    """What part of its learning rate a step has; step 0 is the first.

    Attributes:
        shape: how the rate falls after `begin`
        warmup: steps over which it rises linearly before
        warmup_from: part of the rate the warm-up starts from
        begin: step from which the rate falls; the end of the warm-up when null
        power: of the polynomial
        least: learning rate that no group falls below
    """

    shape: Literal['poly', 'cosine', 'constant'] = 'poly'
    warmup: int = 0
    warmup_from: float = 1e-6
    begin: int | None = None
    power: float = 0.9
    least: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup < 0 or (self.begin is not None and self.begin < self.warmup):
            raise DgssError(
                f'A schedule cannot begin to fall at step {self.begin} with a warm-up of '
                f'{self.warmup} steps; let begin be at least the warm-up.'
            )

    def factor(self, step: int, steps: int) -> float:
        """Of `step` in a training of `steps` steps: 0 to 1, and 0 from `steps` on."""
        if step < self.warmup:
            return self.warmup_from + (1 - self.warmup_from) * step / self.warmup
        begin = self.warmup if self.begin is None else self.begin
        progress = min(1.0, max(0, step - begin) / max(1, steps - begin))
        if self.shape == 'constant':
            return 1.0
        if self.shape == 'cosine':
            return 0.5 + 0.5 * math.cos(math.pi * progress)
        return (1 - progress) ** self.power
