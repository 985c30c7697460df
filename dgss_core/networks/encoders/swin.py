"""Swin Transformer (Liu et al., ICCV 2021): attention in windows that shift between blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.networks.encoders import windows
from dgss_core.networks.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder
from dgss_core.networks.encoders.vit import Mlp
from dgss_core.networks.layers import DropPath

PATCH = 4
FAR = -100.0
"""Added to the scores of tokens that the shift has brought into one window, as published."""


class WindowAttention(nn.Module):
    """Self-attention inside windows of `side` by `side` tokens, with a bias per offset."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.offsets = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
        self.proj = nn.Linear(width, width)
        nn.init.trunc_normal_(self.offsets, std=0.02)

    def forward(self, x: Tensor, apart: Tensor | None = None) -> Tensor:
        """Windows (B*n,N,C); `apart` (n,N,N) is added to the scores of each of n windows."""
        q, k, v = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (self.q, self.k, self.v)
        )
        # No fused attention: the bias is as large as the scores, and this form exports to ONNX.
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5 + self.bias()
        if apart is not None:
            scores = (scores.unflatten(0, (-1, len(apart))) + apart.unsqueeze(1)).flatten(0, 1)
        return self.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))

    def bias(self) -> Tensor:
        """(heads,N,N): the table's entry for the offset from each key to each query."""
        side, device = self.side, self.offsets.device
        place = torch.arange(side, device=device)
        rows, columns = place.repeat_interleave(side), place.repeat(side)
        down = rows[:, None] - rows[None] + side - 1
        across = columns[:, None] - columns[None] + side - 1
        index = down * (2 * side - 1) + across
        return self.offsets[index.flatten()].unflatten(0, index.shape).permute(2, 0, 1)


class SwinBlock(nn.Module):
    """Attention in windows and MLP, each with a norm before it and a residual around it.

    With `shift` the map is rolled by half a window first. Windows that cross the edge are padded
    with zeros, which take part in the attention.
    """

    def __init__(
        self, width: int, heads: int, side: int, shift: bool, hidden: int, drop_path: float
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, side)
        self.mlp = Mlp(width, hidden, nn.GELU())
        self.side, self.shift = side, side // 2 if shift else 0
        self.drop = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """A map (B,C,h,w) to the same."""
        x = x.permute(0, 2, 3, 1)
        x = x + self.drop(self.in_windows(self.norm1(x)))
        return (x + self.drop(self.mlp(self.norm2(x)))).permute(0, 3, 1, 2)

    def in_windows(self, x: Tensor) -> Tensor:
        """Attention over a map (B,h,w,C)."""
        batch, height, width, _ = x.shape
        side, shift = self.side, self.shift
        x = windows.pad_to(x, side)
        rows, columns = x.shape[1] // side, x.shape[2] // side
        apart = None
        if shift:
            apart = self.apart(x.shape[1], x.shape[2], like=x)
            x = x.roll((-shift, -shift), (1, 2))
        tokens = windows.cut(x, side).flatten(1, 2)
        x = self.attention(tokens, apart).unflatten(1, (side, side))
        x = windows.join(x, batch, rows, columns)
        if shift:
            x = x.roll((shift, shift), (1, 2))
        return x[:, :height, :width]

    def apart(self, height: int, width: int, like: Tensor) -> Tensor:
        """(n,N,N): `FAR` between tokens of a rolled map that were not neighbours before."""

        def region(size: int) -> Tensor:
            place = torch.arange(size, device=like.device)
            return (place >= size - self.side).long() + (place >= size - self.shift).long()

        regions = 3 * region(height)[:, None] + region(width)[None]
        tokens = windows.cut(regions[None, :, :, None], self.side).flatten(1)
        return FAR * (tokens[:, :, None] != tokens[:, None]).to(like.dtype)


class Merge(nn.Module):
    """Squares of 2 x 2 tokens (B,C,h,w) to one token each (B,2C,h/2,w/2); odd sides are padded."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = windows.pad_to(x.permute(0, 2, 3, 1), 2)
        parts = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduce(self.norm(torch.cat(parts, dim=3))).permute(0, 3, 1, 2)


class SwinTransformer(Encoder):
    """Four stages with maps at strides 4, 8, 16 and 32, each with a norm of its own.

    Args:
        width: channels of the first stage; each further stage has twice as many.
        depths, heads: blocks and attention heads of each stage.
        window: side of a window in tokens.
        drop_path: highest rate of stochastic depth, in [0,1]; it rises linearly over the blocks.
    """

    new_parts = ('adapter.', 'norms.')

    def __init__(
        self,
        width: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int = 7,
        mlp_ratio: int = 4,
        drop_path: float = 0.0,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        pad: bool = True,
    ) -> None:
        widths = [width * 2**stage for stage in range(len(depths))]
        strides = [PATCH * 2**stage for stage in range(len(depths))]
        super().__init__(widths, strides, strides[-1], mean, std, pad)
        rates = iter(torch.linspace(0, drop_path, sum(depths), device='cpu').tolist())
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)
        self.first_norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(
                    SwinBlock(size, count, window, index % 2 == 1, mlp_ratio * size, next(rates))
                    for index in range(depth)
                )
            )
            for size, depth, count in zip(widths, depths, heads, strict=True)
        )
        self.merges = nn.ModuleList(Merge(size) for size in widths[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in widths)

    def maps(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        x = F.pad(x, (0, -x.shape[3] % PATCH, 0, -x.shape[2] % PATCH))
        x = _normed(self.proj(x), self.first_norm)
        for stage, blocks in enumerate(self.blocks):
            if stage:
                x = self.merges[stage - 1](x)
            for block in blocks.children():
                x = self.run(block, x)
            x = self.adapt(x, stage)
            maps.append(_normed(x, self.norms[stage]))
        return maps

    def trunk(self) -> list[list[nn.Module]]:
        # The norms of the maps come first, so that the last module of a stage is a block.
        starts = [[self.proj, self.first_norm], *([merge] for merge in self.merges)]
        return [
            [norm, *start, *blocks.children()]
            for norm, start, blocks in zip(self.norms, starts, self.blocks, strict=True)
        ]

    def sharded_blocks(self) -> list[nn.Module]:
        return [block for blocks in self.blocks for block in blocks.children()]


def _normed(x: Tensor, norm: nn.Module) -> Tensor:
    """A map (B,C,h,w) after a norm over its channels."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
