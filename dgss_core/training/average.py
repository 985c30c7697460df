"""Exponential moving average of a model in training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from dgss_core.errors import DgssError


@dataclass
class AverageConfig:
    """How the average is updated.

    Attributes:
        decay: share of the average that an update keeps, once it has warmed up
        start: until this step the average equals the model; after it there is no warm-up
        every: steps between updates; that of a recipe equals the model until the first
    """

    decay: float = 0.999
    start: int = 0
    every: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1 or self.every < 1:
            raise DgssError(
                f'An average cannot keep {self.decay} of itself every {self.every} steps; give '
                'a decay of 0 up to 1 and at least one step.'
            )


class Average:
    """Average of the trained weights and running statistics of `model`, in `state` by name.

    Frozen weights are not copied. The model stays on its device and keeps its tensors. With
    `warms_up` update n keeps at most (1 + n) / (10 + n) of the average, as in the averages of
    TensorFlow, and the average equals the model until the first update: a short training does not
    keep its random start. A late start needs none.
    """

    def __init__(self, model: nn.Module, config: AverageConfig, warms_up: bool = False) -> None:
        self.config, self.warms_up = config, warms_up and config.start == 0
        self.state = {name: x.detach().clone() for name, x in moving(model).items()}
        self._known: tuple[nn.Module, list[Tensor], list[Tensor]] | None = None

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Update the average with the model after `step`, counted from 1."""
        if step <= self.config.start or (self.warms_up and step < self.config.every):
            share = 1.0
        elif (step - self.config.start) % self.config.every == 0:
            count = (step - self.config.start) // self.config.every
            decay = self.config.decay
            share = 1 - (min(decay, (1 + count) / (10 + count)) if self.warms_up else decay)
        else:
            return
        ours, theirs = self._pairs(model)
        torch._foreach_lerp_(ours, theirs, share)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Inside the block the model has the averaged weights."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        ours, theirs = self._pairs(model)
        kept = [x.clone() for x in theirs]
        torch._foreach_copy_(theirs, ours)
        torch._foreach_copy_(ours, kept)

    def _pairs(self, model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """The tensors of the average and those of the model; of sharded ones, this process's."""
        if self._known is not None and self._known[0] is model:
            return self._known[1:]
        found = moving(model)
        ours = [local(self.state[name]) for name in found]
        theirs = [local(x.detach()) for x in found.values()]
        if not any(isinstance(x, DTensor) for x in found.values()):
            # Collecting hundreds of names takes longer than the update. Shards move in memory.
            self._known = model, ours, theirs
        return ours, theirs


def local(x: Tensor) -> Tensor:
    """The part of a tensor in this process, if it is sharded; it shares the memory of `x`."""
    return x.to_local() if isinstance(x, DTensor) else x


def moving(model: nn.Module) -> dict[str, Tensor]:
    """Trained parameters and floating point buffers by name."""
    return {
        name: x
        for name, x in model.state_dict(keep_vars=True).items()
        if (x.requires_grad if isinstance(x, nn.Parameter) else x.is_floating_point())
    }
