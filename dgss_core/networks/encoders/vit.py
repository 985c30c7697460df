"""The plain vision transformer (Dosovitskiy et al. 2021) and the parts its successors change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.encoders.encoder import Encoder
from dgss_core.networks.encoders.positions import (
    Grid,
    Rotation,
    resample_offsets,
    resample_patch,
    resample_table,
    rotate,
)
from dgss_core.networks.encoders.pyramid import Pyramid
from dgss_core.networks.layers import DropPath


class QuickGELU(nn.Module):
    """The GELU approximation of OpenAI's CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class LayerScale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Attention(nn.Module):
    """Multi-head self-attention over (B,N,C).

    EVA-02 has `k_bias=False`. EVA-02-CLIP also has `inner_norm=True`, a norm before the last
    projection.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        k_bias: bool = True,
        inner_norm: bool = False,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width, bias=k_bias)
        self.v = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps) if inner_norm else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, grid: Grid, allowed: Tensor | None = None) -> Tensor:
        """`allowed` (B,1,N,N) bool: which tokens each token attends to; None means all."""
        q, k, v = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (self.q, self.k, self.v)
        )
        if grid.cosines is not None and grid.sines is not None:
            q, k = (rotate(x, grid.cosines, grid.sines) for x in (q, k))
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.proj(self.norm(x.transpose(1, 2).flatten(2)))


class Mlp(nn.Module):
    """Linear, activation, linear."""

    def __init__(self, width: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class SwiGLU(nn.Module):
    """w3(norm(silu(w1 x) * w2 x)): the gated MLP of EVA-02 with its inner norm."""

    def __init__(self, width: int, hidden: int, norm: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden, eps=eps) if norm else nn.Identity()
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.w3(self.norm(F.silu(self.w1(x)) * self.w2(x)))


class Block(nn.Module):
    """Attention and MLP, each with a norm before it and a residual around it."""

    def __init__(
        self,
        width: int,
        attention: Attention,
        mlp: nn.Module,
        eps: float = 1e-6,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.attention, self.mlp = attention, mlp
        self.scale1: nn.Module = nn.Identity()
        self.scale2: nn.Module = nn.Identity()
        if layer_scale is not None:
            self.scale1 = LayerScale(width, layer_scale)
            self.scale2 = LayerScale(width, layer_scale)
        self.drop = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, grid: Grid, allowed: Tensor | None = None) -> Tensor:
        x = x + self.drop(self.scale1(self.attention(self.norm1(x), grid, allowed)))
        return x + self.drop(self.scale2(self.mlp(self.norm2(x))))


class PatchEmbedding(nn.Module):
    """Images to tokens: a convolution, a class token, registers, and a position table for `grid`.

    `grid` is (height, width) in patches. For another grid the table is resampled, see
    `resample_table` for `mode` and `offset`. With `registers` (Darcet et al., ICLR 2024) the table
    is for patches alone, as in timm; without, the class token has the first row. `prefix` counts
    the tokens before the patches: the class token, then the registers.
    """

    def __init__(
        self,
        width: int,
        patch: int,
        grid: tuple[int, int],
        class_token: bool = True,
        table: bool = True,
        bias: bool = True,
        mode: str = 'bicubic',
        offset: float = 0.0,
        registers: int = 0,
    ) -> None:
        super().__init__()
        self.grid, self.mode, self.offset = grid, mode, offset
        self.prefix = int(class_token) + registers
        self.prefix_rows = 0 if registers else self.prefix
        self.proj = nn.Conv2d(3, width, patch, patch, bias=bias)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width)) if class_token else None
        self.registers = nn.Parameter(torch.zeros(1, registers, width)) if registers else None
        rows = self.prefix_rows + grid[0] * grid[1]
        self.table = nn.Parameter(torch.zeros(1, rows, width)) if table else None

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        """Tokens (B,prefix+h*w,C), and h and w of the grid."""
        x = self.proj(x)
        height, width = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        if self.registers is None:
            return self.placed(self.after(x, self.class_token), height, width), height, width
        x = self.after(self.placed(x, height, width), self.class_token, self.registers)
        return x, height, width

    def after(self, x: Tensor, *prefix: Tensor | None) -> Tensor:
        """Tokens (B,N,C) after learned ones."""
        learned = [tokens.expand(x.shape[0], -1, -1) for tokens in prefix if tokens is not None]
        return torch.cat((*learned, x), dim=1) if learned else x

    def placed(self, x: Tensor, height: int, width: int) -> Tensor:
        """Tokens with their rows of the table added."""
        if self.table is None:
            return x
        new = (height, width)
        return x + resample_table(self.table, self.grid, new, self.mode, self.offset)


class VisionTransformer(Encoder):
    """Patch embedding and blocks; the patch tokens after the blocks `taps` become maps.

    There is no final norm; `last_norm` holds that of the pre-trained weights, for heads that
    continue with it. `pyramid` resizes the taps to several scales. `rotation` rotates
    queries and keys (EVA-02). `first_norm` is CLIP's norm before the blocks. With `keep_prefix`
    the class token and the registers of the last tap (B,prefix,C) follow the maps.
    """

    new_parts = ('adapter.', 'pyramid.')

    def __init__(
        self,
        embed: PatchEmbedding,
        blocks: Sequence[nn.Module],
        taps: Sequence[int],
        pyramid: Pyramid,
        mean: Sequence[float],
        std: Sequence[float],
        rotation: Rotation | None = None,
        first_norm: nn.Module | None = None,
        pad: bool = True,
        keep_prefix: bool = False,
    ) -> None:
        width, patch = embed.proj.out_channels, embed.proj.stride[0]
        scales = pyramid.scales
        _check_taps(taps, len(blocks), len(scales))
        super().__init__(
            channels=(width,) * len(scales),
            cells=[patch / scale for scale in scales],
            size_multiple=round(patch / min(1.0, *scales)),
            mean=mean,
            std=std,
            pad=pad,
        )
        self.embed = embed
        self.first_norm = nn.Identity() if first_norm is None else first_norm
        self.rotation = rotation
        self.blocks = nn.ModuleList(blocks)
        self.taps, self.pyramid, self.keep_prefix = tuple(taps), pyramid, keep_prefix
        self.last_norm: dict[str, Tensor] = {}
        self.apply(_initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        x, height, width = self.embed(x)
        x = self.first_norm(x)
        grid = Grid(height, width)
        if self.rotation is not None:
            grid = self.rotation(height=height, width=width)
        prefix, taps = self.embed.prefix, []
        for index, block in enumerate(self.blocks[: self.taps[-1] + 1]):
            x = self.run(block, x, grid)
            if self.adapter is not None:
                x = torch.cat((x[:, :prefix], self.adapter(x[:, prefix:], index)), dim=1)
            if index in self.taps:
                taps.append(x[:, prefix:].transpose(1, 2).unflatten(2, (height, width)))
        maps = self.pyramid(taps)
        return [*maps, x[:, :prefix]] if self.keep_prefix else maps

    def trunk(self) -> list[list[nn.Module]]:
        stem = [self.embed, self.first_norm]
        starts = [0, *(tap + 1 for tap in self.taps[:-1])]
        ends = [tap + 1 for tap in self.taps[:-1]] + [len(self.blocks)]
        stages = [list(self.blocks[a:b]) for a, b in zip(starts, ends, strict=True)]
        return [stem + stages[0], *stages[1:]]

    def first_stage(self) -> nn.Module:
        return self.blocks[0]

    def sharded_blocks(self) -> list[nn.Module]:
        return list(self.blocks)

    def resample(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Resample the patch kernel and tables of positions in a square grid to this network's."""
        state, embed = dict(state), self.embed
        if 'embed.proj.weight' in state:
            patch = embed.proj.stride[0]
            state['embed.proj.weight'] = resample_patch(state['embed.proj.weight'], patch)
        table = state.get('embed.table')
        if table is not None and embed.table is not None and table.shape != embed.table.shape:
            side = round((table.shape[1] - embed.prefix_rows) ** 0.5)
            if side * side + embed.prefix_rows == table.shape[1]:
                state['embed.table'] = resample_table(table, (side, side), embed.grid, embed.mode)
        for key, own in self.named_parameters():
            if key.endswith(('.positions.rows', '.positions.columns')) and key in state:
                state[key] = resample_offsets(state[key], len(own))
        return state


def _check_taps(taps: Sequence[int], blocks: int, maps: int) -> None:
    if len(taps) != maps or list(taps) != sorted(set(taps)) or not 0 <= taps[-1] < blocks:
        raise DgssError(
            f'taps {tuple(taps)} do not suit a ViT of {blocks} blocks and {maps} maps; give '
            f'{maps} rising block numbers below {blocks}.'
        )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, PatchEmbedding):
        for table in (module.class_token, module.registers, module.table):
            if table is not None:
                nn.init.trunc_normal_(table, std=0.02)
