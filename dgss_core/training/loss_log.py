"""Collects the loss of every step and checks many at once, to avoid a GPU sync per step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from dgss_core.errors import DgssError
from dgss_core.training.fabric import Fabric
from dgss_core.training.state import gathered


class LossLog:
    """Losses and gradient norms since the last check."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []

    def add(self, step: int, losses: Mapping[str, Tensor], norm: Tensor) -> None:
        """Record the named losses of `step` and the norm of their gradients."""
        self.steps.append(step)
        self.losses.append(torch.stack([loss.detach().float() for loss in losses.values()]).sum())
        self.norms.append(gathered(norm.detach()))

    def check(self, fabric: Fabric, state: Path) -> dict[str, float]:
        """Mean loss over all processes and mean norm since the last check.

        Every process must call it. Raises DgssError naming the first step where either is not
        finite; `state` is the file of the last saved state.
        """
        losses = fabric.all_reduce(torch.stack(self.losses), reduce_op='mean')
        assert isinstance(losses, Tensor)
        norms = torch.stack(self.norms)
        bad = (~(losses.isfinite() & norms.isfinite().to(losses.device))).nonzero().flatten()
        if len(bad):
            step, loss, norm = (x[int(bad[0])] for x in (self.steps, losses, norms))
            kept = (
                f'{state} is the last good state' if state.is_file() else 'nothing was saved yet'
            )
            raise DgssError(
                f'At step {step} the loss was {loss:.4g} and the norm of its gradients '
                f'{norm:.4g}; {kept}; lower optimiser.rate, or set optimiser.clip, and begin anew.'
            )
        values = {'loss': losses.mean().item(), 'gradient norm': norms.mean().item()}
        self.steps, self.losses, self.norms = [], [], []
        return values
