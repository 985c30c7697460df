"""The block of SAM's image encoder (Kirillov et al. 2023; ViTDet, Li et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dgss_core.networks.encoders import windows
from dgss_core.networks.encoders.positions import Grid, resample_offsets
from dgss_core.networks.encoders.vit import Mlp
from dgss_core.networks.layers import DropPath


class RelativePositions(nn.Module):
    """A learned vector per row offset and per column offset, for maps of `size` by `size`.

    Attention adds q . rows[offset] + q . columns[offset]. Other sizes resample the tables.
    """

    def __init__(self, size: int, head_width: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(2 * size - 1, head_width))
        self.columns = nn.Parameter(torch.zeros(2 * size - 1, head_width))

    def forward(self, q: Tensor, *, height: int, width: int) -> Tensor:
        """Queries (B,heads,height*width,d) to a bias (B,heads,N,N) for the attention."""
        q = q.unflatten(2, (height, width))
        rows = torch.einsum('bnhwd,hkd->bnhwk', q, _offsets(self.rows, height))
        columns = torch.einsum('bnhwd,wkd->bnhwk', q, _offsets(self.columns, width))
        bias = rows[..., :, None] + columns[..., None, :]
        return bias.flatten(4).flatten(2, 3)


class SamAttention(nn.Module):
    """Self-attention with relative positions over maps (B,h,w,C)."""

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.positions = RelativePositions(size, width // heads)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        tokens = x.flatten(1, 2)
        q, k, v = (
            project(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (self.q, self.k, self.v)
        )
        # No fused attention: the bias is as large as the scores, and this form exports to ONNX.
        bias = self.positions(q, height=height, width=width)
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5 + bias
        tokens = (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
        return self.proj(tokens).unflatten(1, (height, width))


class SamBlock(nn.Module):
    """A ViT block with attention inside windows of `window` patches; 0 disables windows.

    Windows that cross the edge are padded with zeros, which take part in the attention. A block
    without windows has tables for maps of `size` by `size` patches.
    """

    def __init__(
        self, width: int, heads: int, window: int, size: int, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = SamAttention(width, heads, window or size)
        self.mlp = Mlp(width, 4 * width, nn.GELU())
        self.window = window
        self.drop = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        y = self.norm1(x).unflatten(1, (grid.height, grid.width))
        y = self._in_windows(y) if self.window else self.attention(y)
        x = x + self.drop(y.flatten(1, 2))
        return x + self.drop(self.mlp(self.norm2(x)))

    def _in_windows(self, x: Tensor) -> Tensor:
        (batch, height, width, _), side = x.shape, self.window
        x = windows.pad_to(x, side)
        rows, columns = x.shape[1] // side, x.shape[2] // side
        x = windows.join(self.attention(windows.cut(x, side)), batch, rows, columns)
        return x[:, :height, :width]


def _offsets(table: Tensor, size: int) -> Tensor:
    """A table (2n-1,d) to (size,size,d): the vector of every offset query - key."""
    table = resample_offsets(table, 2 * size - 1)
    place = torch.arange(size, device=table.device)
    return table[place[:, None] - place[None] + size - 1]
