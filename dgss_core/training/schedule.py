"""Learning rates as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dgss_core.errors import DgssError


@dataclass
class Schedule:
    """Factor on the learning rate as a function of the step; step 0 is the first.

    Attributes:
        shape: decay after `begin`; constant does not decay
        warmup: steps of linear warm-up
        warmup_from: factor at the start of the warm-up
        begin: first step of the decay; the end of the warm-up when null
        power: exponent of the polynomial
        least: minimum learning rate of every group
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
        """Factor, 0 to 1, of `step` in a training of `steps` steps.

        From `steps` on it is 0 for poly and cosine, and 1 for constant.
        """
        if step < self.warmup:
            return self.warmup_from + (1 - self.warmup_from) * step / self.warmup
        begin = self.warmup if self.begin is None else self.begin
        progress = min(1.0, max(0, step - begin) / max(1, steps - begin))
        if self.shape == 'constant':
            return 1.0
        if self.shape == 'cosine':
            return 0.5 + 0.5 * math.cos(math.pi * progress)
        return (1 - progress) ** self.power
