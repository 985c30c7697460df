"""Positions of patches: tables resampled to any grid, and rotary positions."""

from __future__ import annotations

from math import pi
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Grid(NamedTuple):
    """The patch grid of an image, and the rotation of its tokens if the ViT is rotary."""

    height: int
    width: int
    cosines: Tensor | None = None
    sines: Tensor | None = None


def resample_table(
    table: Tensor,
    grid: tuple[int, int],
    new: tuple[int, int],
    mode: str = 'bicubic',
    offset: float = 0.0,
) -> Tensor:
    """Resample a position table (1,P+gh*gw,C) to another grid; the P prefix rows do not change.

    `grid` and `new` are (height, width) in patches. The scale is computed from the new size plus
    `offset` (0.1 in DINOv2).
    """
    if tuple(new) == tuple(grid):
        return table
    prefix = table.shape[1] - grid[0] * grid[1]
    image = table[:, prefix:].transpose(1, 2).unflatten(2, grid)
    if offset:
        scale = [(target + offset) / size for target, size in zip(new, grid, strict=True)]
        image = F.interpolate(image, scale_factor=scale, mode=mode)
    else:
        image = F.interpolate(image, size=tuple(new), mode=mode)
    return torch.cat((table[:, :prefix], image.flatten(2).transpose(1, 2)), dim=1)


def resample_offsets(table: Tensor, length: int) -> Tensor:
    """Resample a table (2n-1,d) of the offsets in a map of n cells to (length,d), as SAM does."""
    if len(table) == length:
        return table
    return F.interpolate(table.T[None], size=length, mode='linear')[0].T


def resample_patch(kernel: Tensor, size: int) -> Tensor:
    """Resize a patch convolution (C,3,p,p) to patches of `size` pixels, bicubic (as Rein does)."""
    if kernel.shape[-1] == size:
        return kernel
    return F.interpolate(kernel, size=(size, size), mode='bicubic')


class Rotation(nn.Module):
    """2-D rotary positions of EVA-02 (Fang et al. 2023) and DINOv3 (Siméoni et al. 2025).

    The first half of a head's channels is rotated by the row, the second half by the column, in
    interleaved pairs. The wavelengths rise from 1 to `theta`. Row k of n of EVA-02 has position
    k / n * `trained_grid`: every image covers the pre-training grid. Without a `trained_grid` its
    position is that of DINOv3: from -2 pi to 2 pi, at the centre of the row. Prefix tokens are not
    rotated.
    """

    frequencies: Tensor

    def __init__(
        self,
        head_width: int,
        trained_grid: int | None = 16,
        prefix: int = 1,
        theta: float = 10000.0,
    ) -> None:
        super().__init__()
        self.head_width, self.trained_grid, self.prefix = head_width, trained_grid, prefix
        self.theta = theta
        self.register_buffer('frequencies', _frequencies(head_width, theta), persistent=False)

    def with_prefix(self, prefix: int) -> Rotation:
        """The same rotation behind another number of prefix tokens."""
        return Rotation(self.head_width, self.trained_grid, prefix, self.theta)

    def forward(self, *, height: int, width: int) -> Grid:
        rows, columns = self._angles(height), self._angles(width)
        angles = torch.cat(
            (
                rows[:, None].expand(-1, width, -1),
                columns[None].expand(height, -1, -1),
            ),
            dim=2,
        ).flatten(0, 1)
        angles = F.pad(angles, (0, 0, self.prefix, 0))
        return Grid(height, width, angles.cos(), angles.sin())

    def _angles(self, size: int) -> Tensor:
        # Computed in float32: a cast of the model to half precision rounds the buffer.
        frequencies = _frequencies(self.head_width, self.theta, self.frequencies.device)
        rows = torch.arange(size, device=frequencies.device)
        if self.trained_grid is None:
            place = 2 * pi * (2 * (rows + 0.5) / size - 1)
        else:
            place = rows / size * self.trained_grid
        return (place[:, None] * frequencies).repeat_interleave(2, dim=1)


def _frequencies(head_width: int, theta: float, device: torch.device | None = None) -> Tensor:
    half = head_width // 2
    return theta ** -(torch.arange(0, half, 2, dtype=torch.float32, device=device) / half)


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate the channel pairs (2i, 2i+1) of (B,heads,N,C) by angles given as (N,C)."""
    even, odd = x.unflatten(3, (-1, 2)).unbind(4)
    turned = torch.stack((-odd, even), dim=4).flatten(3)
    return (x * cosines + turned * sines).to(x.dtype)
