"""The passes through the network of one step, and what they hold together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dgss_core.networks.losses.counts import Counts
from dgss_core.training.fabric import Fabric


class Pass(NamedTuple):
    """What one pass through the network learns from: prepared images and labels, and the seed."""

    images: Tensor
    labels: Tensor
    inside: Tensor
    seed: int


def count_step(fabric: Fabric, passes: list[Pass]) -> Counts:
    """The mean counts of a pass over the whole step, the same on every process."""
    found = torch.stack([torch.stack(Counts.of(part.labels, part.inside)) for part in passes]).sum(
        0
    )
    total = fabric.all_reduce(found, reduce_op='sum')
    assert isinstance(total, Tensor)
    return Counts(*total).mean(len(passes) * fabric.world_size)
