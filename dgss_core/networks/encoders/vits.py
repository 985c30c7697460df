"""The published plain ViTs (DINOv2 and 3, CLIP, SigLIP, EVA-02, SAM), from the parts in `vit.py`.

Each function takes the fields of `ViTSpec`, by position or by name, and options of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dgss_core.errors import DgssError, unknown
from dgss_core.networks.encoders.encoder import (
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
)
from dgss_core.networks.encoders.positions import Rotation
from dgss_core.networks.encoders.pyramid import BilinearPyramid, LearnedPyramid, OneScale, Pyramid
from dgss_core.networks.encoders.sam import SamBlock
from dgss_core.networks.encoders.vit import (
    Attention,
    Block,
    Mlp,
    PatchEmbedding,
    QuickGELU,
    SwiGLU,
    VisionTransformer,
)


@dataclass(frozen=True)
class ViTSpec:
    """What all plain ViTs have in common.

    `patch` and `image_size` may differ from the pre-training. When weights are loaded, the patch
    kernel is resampled to `patch`, and the position table to the grid of a square image of
    `image_size`. The forward pass resamples the table once more for other sizes.

    Attributes:
        width: channels of a token.
        depth: number of blocks.
        heads: of the attention.
        patch: side of a patch in pixels.
        image_size: side in pixels of the square image that the position table is for.
        taps: blocks, counted from 0, whose outputs become maps; None is the last block of each
            quarter of the depth.
        pyramid: 'bilinear' or 'learned' (both have strides 4, 8, 16, 32), or 'none'.
        drop_path: highest rate of stochastic depth, in [0,1]; it rises linearly over the blocks.
        mean, std: normalisation of RGB in [0,1].
        pad: as in `Encoder`.
        keep_prefix: as in `VisionTransformer`.
    """

    width: int
    depth: int
    heads: int
    patch: int = 16
    image_size: int = 512
    taps: Sequence[int] | None = None
    pyramid: str = 'bilinear'
    drop_path: float = 0.0
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    pad: bool = True
    keep_prefix: bool = False

    @property
    def drop_rates(self) -> list[float]:
        """Stochastic depth rate of each block."""
        return torch.linspace(0, self.drop_path, self.depth, device='cpu').tolist()

    @property
    def quarters(self) -> tuple[int, ...]:
        """Last block of each quarter."""
        return tuple(self.depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along each side of an image of `image_size`."""
        if self.image_size < self.patch:
            raise DgssError(
                f'image_size {self.image_size} is smaller than one patch of {self.patch} pixels.'
            )
        return self.image_size // self.patch, self.image_size // self.patch

    def embedding(self, **options: Any) -> PatchEmbedding:
        return PatchEmbedding(self.width, self.patch, self.grid, **options)

    def vit(
        self,
        embed: PatchEmbedding,
        blocks: Sequence[nn.Module],
        rotation: Rotation | None = None,
        first_norm: nn.Module | None = None,
    ) -> VisionTransformer:
        taps = self.quarters if self.taps is None else self.taps
        pyramid = _pyramid(self.pyramid, self.width, taps)
        return VisionTransformer(
            embed,
            blocks,
            taps,
            pyramid,
            self.mean,
            self.std,
            rotation,
            first_norm,
            self.pad,
            self.keep_prefix,
        )


@dataclass(frozen=True)
class ClipSpec(ViTSpec):
    mean: Sequence[float] = CLIP_MEAN
    std: Sequence[float] = CLIP_STD


@dataclass(frozen=True)
class SiglipSpec(ViTSpec):
    mean: Sequence[float] = HALF
    std: Sequence[float] = HALF


@dataclass(frozen=True)
class SamSpec(ViTSpec):
    image_size: int = 1024


def dinov2(
    *sizes: Any,
    mlp_ratio: float = 4.0,
    layer_scale: float | None = 1e-5,
    registers: int = 0,
    **options: Any,
) -> VisionTransformer:
    """DINOv2 (Oquab et al. 2023): layer scale, and a position table resampled by (n+0.1)/N.

    `registers` is 4 in the encoders of Darcet et al. (ICLR 2024), else 0.
    """
    spec = ViTSpec(*sizes, **options)
    width = spec.width
    blocks = [
        Block(
            width,
            Attention(width, spec.heads),
            Mlp(width, int(width * mlp_ratio), nn.GELU()),
            layer_scale=layer_scale,
            drop_path=rate,
        )
        for rate in spec.drop_rates
    ]
    return spec.vit(spec.embedding(offset=0.1, registers=registers), blocks)


def dinov3(
    *sizes: Any, layer_scale: float | None = 1e-5, registers: int = 4, **options: Any
) -> VisionTransformer:
    """DINOv3 (Siméoni et al. 2025): DINOv2 with registers and with rotary positions alone."""
    spec = ViTSpec(*sizes, **options)
    width, heads = spec.width, spec.heads
    blocks = [
        Block(
            width,
            Attention(width, heads, k_bias=False),
            Mlp(width, 4 * width, nn.GELU()),
            eps=1e-5,
            layer_scale=layer_scale,
            drop_path=rate,
        )
        for rate in spec.drop_rates
    ]
    embed = spec.embedding(table=False, registers=registers)
    rotation = Rotation(width // heads, None, embed.prefix, theta=100.0)
    return spec.vit(embed, blocks, rotation=rotation)


def clip_vit(*sizes: Any, quick_gelu: bool = True, **options: Any) -> VisionTransformer:
    """CLIP's image transformer (Radford et al. 2021), with a norm before the blocks.

    OpenAI's weights need `quick_gelu=True`, most open_clip weights need False. The position table
    is resampled bilinearly, as in DenseCLIP and Rein.
    """
    spec = ClipSpec(*sizes, **options)
    width = spec.width
    blocks = [
        Block(
            width,
            Attention(width, spec.heads, eps=1e-5),
            Mlp(width, 4 * width, QuickGELU() if quick_gelu else nn.GELU()),
            eps=1e-5,
            drop_path=rate,
        )
        for rate in spec.drop_rates
    ]
    embed = spec.embedding(bias=False, mode='bilinear')
    return spec.vit(embed, blocks, first_norm=nn.LayerNorm(width, eps=1e-5))


def siglip(*sizes: Any, **options: Any) -> VisionTransformer:
    """SigLIP and SigLIP 2 (Zhai et al. 2023, Tschannen et al. 2025): no class token."""
    spec = SiglipSpec(*sizes, **options)
    width = spec.width
    blocks = [
        Block(
            width,
            Attention(width, spec.heads),
            Mlp(width, 4 * width, nn.GELU()),
            drop_path=rate,
        )
        for rate in spec.drop_rates
    ]
    return spec.vit(spec.embedding(class_token=False), blocks)


def eva02(
    *sizes: Any,
    inner_norm: bool = False,
    hidden: int | None = None,
    trained_grid: int = 16,
    layer_scale: float | None = None,
    table: bool = True,
    **options: Any,
) -> VisionTransformer:
    """EVA-02 and EVA-02-CLIP (Fang et al. 2023, Sun et al. 2023).

    Rotary positions and a position table, no bias for keys, a gated MLP with an inner norm.
    `inner_norm` is a norm inside the attention: EVA-02-CLIP has it; EVA-02 and the checkpoints of
    VLTSeg do not. `hidden` is the width of the gated MLP, by default 8/3 of `width`.
    `trained_grid` is as in `Rotation`.
    """
    spec = ViTSpec(*sizes, **options)
    width, heads = spec.width, spec.heads
    hidden = int(width * 8 / 3) if hidden is None else hidden
    blocks = [
        Block(
            width,
            Attention(width, heads, k_bias=False, inner_norm=inner_norm),
            SwiGLU(width, hidden),
            layer_scale=layer_scale,
            drop_path=rate,
        )
        for rate in spec.drop_rates
    ]
    rotation = Rotation(width // heads, trained_grid)
    return spec.vit(spec.embedding(table=table), blocks, rotation=rotation)


def sam(*sizes: Any, window: int = 14, **options: Any) -> VisionTransformer:
    """The image encoder of SAM (Kirillov et al. 2023) without its neck.

    Attention stays inside windows of `window` patches, except in the last block of each quarter.
    `image_size` is 1024 by default.
    """
    spec = SamSpec(*sizes, **options)
    side, _ = spec.grid
    blocks = [
        SamBlock(spec.width, spec.heads, 0 if index in spec.quarters else window, side, rate)
        for index, rate in enumerate(spec.drop_rates)
    ]
    return spec.vit(spec.embedding(class_token=False), blocks)


def _pyramid(name: str, width: int, taps: Sequence[int]) -> Pyramid:
    if name == 'bilinear':
        return BilinearPyramid()
    if name == 'learned':
        return LearnedPyramid(width)
    if name == 'none':
        return OneScale(len(taps))
    raise unknown('pyramid', name, ('bilinear', 'learned', 'none'))
