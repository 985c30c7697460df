"""Square windows of maps, between which nothing is exchanged."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to(x: Tensor, side: int) -> Tensor:
    """A map (B,h,w,C) with zeros at the right and bottom, so that `side` divides h and w."""
    return F.pad(x, (0, 0, 0, -x.shape[2] % side, 0, -x.shape[1] % side))


def cut(x: Tensor, side: int) -> Tensor:
    """A map (B,rows*side,columns*side,C) to windows (B*rows*columns,side,side,C)."""
    rows, columns = x.shape[1] // side, x.shape[2] // side
    x = x.unflatten(2, (columns, side)).unflatten(1, (rows, side))
    return x.transpose(2, 3).flatten(0, 2)


def join(windows: Tensor, batch: int, rows: int, columns: int) -> Tensor:
    """The inverse of `cut`."""
    x = windows.unflatten(0, (batch, rows, columns)).transpose(2, 3)
    return x.flatten(3, 4).flatten(1, 2)
