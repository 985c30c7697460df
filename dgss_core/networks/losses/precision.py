"""Products of losses that half precision is too coarse for."""

from __future__ import annotations

import torch
from torch import Tensor


def in_float32(x: Tensor) -> torch.autocast:
    """A block in which autocast does not round float32 products on the device of `x`."""
    return torch.autocast(x.device.type, enabled=False)
