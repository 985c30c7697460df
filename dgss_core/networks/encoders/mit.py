"""MiT, the mix transformer of SegFormer (Xie et al., NeurIPS 2021, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.networks.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder
from dgss_core.networks.layers import DropPath

STRIDES = (4, 8, 16, 32)
HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
"""Side of the squares whose tokens become one key and one value, in each stage."""


def as_map(x: Tensor, size: Sequence[int]) -> Tensor:
    """Tokens (B,h*w,C) to a map (B,C,h,w), size = (h, w)."""
    return x.transpose(1, 2).unflatten(2, tuple(size))


def as_tokens(x: Tensor) -> Tensor:
    """A map (B,C,h,w) to tokens (B,h*w,C), row by row."""
    return x.flatten(2).transpose(1, 2)


class OverlappingPatches(nn.Module):
    """A strided convolution whose windows overlap, then a norm: maps to smaller maps."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int, eps: float) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x)
        return as_map(self.norm(as_tokens(x)), x.shape[-2:])


class ReducedAttention(nn.Module):
    """Self-attention over a map, with a key and a value per square of `reduction` tokens."""

    def __init__(self, width: int, heads: int, reduction: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.reduce: nn.Module | None = None
        if reduction > 1:
            self.reduce = nn.Conv2d(width, width, reduction, reduction)
            self.norm = nn.LayerNorm(width, eps=eps)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        seen = x
        if self.reduce is not None:
            seen = self.norm(as_tokens(self.reduce(as_map(x, size))))
        q, k, v = (
            y.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for y in (self.q(x), self.k(seen), self.v(seen))
        )
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MixMlp(nn.Module):
    """Linear, depthwise 3x3, GELU, linear: the zero padding of the 3x3 tells positions."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return self.fc2(F.gelu(as_tokens(self.mix(as_map(self.fc1(x), size)))))


class MixBlock(nn.Module):
    """Reduced attention and mix MLP, each with a norm before it and a residual around it."""

    def __init__(
        self, width: int, heads: int, reduction: int, hidden: int, eps: float, drop_path: float
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.attention = ReducedAttention(width, heads, reduction, eps)
        self.mlp = MixMlp(width, hidden)
        self.drop = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        size, x = x.shape[-2:], as_tokens(x)
        x = x + self.drop(self.attention(self.norm1(x), size))
        x = x + self.drop(self.mlp(self.norm2(x), size))
        return as_map(x, size)


class MixTransformer(Encoder):
    """Four stages with maps at strides 4, 8, 16 and 32; a norm ends each stage.

    Args:
        widths, depths: channels and blocks of each stage.
        drop_path: highest rate of stochastic depth, in [0,1]; it rises linearly over the blocks.
        eps: of all norms; 1e-6 in openmmlab, 1e-5 in transformers; the authors mix both.
    """

    def __init__(
        self,
        widths: Sequence[int],
        depths: Sequence[int],
        heads: Sequence[int] = HEADS,
        mlp_ratio: int = 4,
        drop_path: float = 0.0,
        eps: float = 1e-6,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        pad: bool = True,
    ) -> None:
        super().__init__(widths, STRIDES, 32, mean, std, pad)
        self.form = {} if eps == 1e-6 else {'eps': eps}
        rates = iter(torch.linspace(0, drop_path, sum(depths), device='cpu').tolist())
        self.embed, self.blocks, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        inputs = 3
        for width, depth, count, reduction in zip(widths, depths, heads, REDUCTIONS, strict=True):
            kernel, stride = (3, 2) if self.embed else (7, 4)
            self.embed.append(OverlappingPatches(inputs, width, kernel, stride, eps))
            self.blocks.append(
                nn.Sequential(
                    *(
                        MixBlock(width, count, reduction, mlp_ratio * width, eps, next(rates))
                        for _ in range(depth)
                    )
                )
            )
            self.norms.append(nn.LayerNorm(width, eps=eps))
            inputs = width

    def maps(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for embed, blocks, norm in zip(self.embed, self.blocks, self.norms, strict=True):
            x = embed(x)
            for block in blocks.children():
                x = self.run(block, x)
            x = as_map(norm(as_tokens(x)), x.shape[-2:])
            x = self.adapt(x, len(maps))
            maps.append(x)
        return maps

    def trunk(self) -> list[list[nn.Module]]:
        # The norm of a map comes first, so that the last module of a stage is a block.
        return [
            [norm, embed, *blocks.children()]
            for embed, blocks, norm in zip(self.embed, self.blocks, self.norms, strict=True)
        ]

    def sharded_blocks(self) -> list[nn.Module]:
        return [block for blocks in self.blocks for block in blocks.children()]
