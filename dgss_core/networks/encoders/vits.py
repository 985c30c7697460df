"""The published plain ViTs: what DINOv2, CLIP, SigLIP, EVA-02 and SAM each put in `vit.py`.

All take `patch` and `image_size`, which need not be those of the pre-training: the patch kernel
is resampled when weights are loaded, and so is the position table, to the grid of a square
image of `image_size`. Other sizes and ratios are resampled once more in the forward pass.
`taps` are the blocks, counted from 0, whose outputs become maps; by default the last of each
quarter. `pyramid` is 'bilinear' (strides 4, 8, 16, 32), 'learned' (the same) or 'none'.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def dinov2(
    width: int,
    depth: int,
    heads: int,
    patch: int = 16,
    image_size: int = 512,
    taps: Sequence[int] | None = None,
    pyramid: str = 'bilinear',
    mlp_ratio: float = 4.0,
    layer_scale: float | None = 1e-5,
    drop_path: float = 0.0,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    pad: bool = True,
) -> VisionTransformer:
    """DINOv2 (Oquab et al. 2023): layer scale, and its position table resampled by (n+0.1)/N."""
    blocks = [
        Block(
            width,
            Attention(width, heads),
            Mlp(width, int(width * mlp_ratio), nn.GELU()),
            layer_scale=layer_scale,
            drop_path=rate,
        )
        for rate in _rates(drop_path, depth)
    ]
    embed = PatchEmbedding(width, patch, _grid(image_size, patch), offset=0.1)
    taps = _quarters(depth) if taps is None else taps
    return VisionTransformer(
        embed, blocks, taps, _pyramid(pyramid, width, taps), mean, std, pad=pad
    )


def clip_vit(
    width: int,
    depth: int,
    heads: int,
    patch: int = 16,
    image_size: int = 512,
    taps: Sequence[int] | None = None,
    pyramid: str = 'bilinear',
    quick_gelu: bool = True,
    drop_path: float = 0.0,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
    pad: bool = True,
) -> VisionTransformer:
    """CLIP's image transformer (Radford et al. 2021): a norm in front of the blocks.

    `quick_gelu` is the activation of OpenAI's weights; most open_clip weights want False. The
    position table is resampled bilinearly, as DenseCLIP and Rein do.
    """
    blocks = [
        Block(
            width,
            Attention(width, heads, eps=1e-5),
            Mlp(width, 4 * width, QuickGELU() if quick_gelu else nn.GELU()),
            eps=1e-5,
            drop_path=rate,
        )
        for rate in _rates(drop_path, depth)
    ]
    embed = PatchEmbedding(width, patch, _grid(image_size, patch), bias=False, mode='bilinear')
    taps = _quarters(depth) if taps is None else taps
    return VisionTransformer(
        embed,
        blocks,
        taps,
        _pyramid(pyramid, width, taps),
        mean,
        std,
        first_norm=nn.LayerNorm(width, eps=1e-5),
        pad=pad,
    )


def siglip(
    width: int,
    depth: int,
    heads: int,
    patch: int = 16,
    image_size: int = 512,
    taps: Sequence[int] | None = None,
    pyramid: str = 'bilinear',
    drop_path: float = 0.0,
    mean: Sequence[float] = HALF,
    std: Sequence[float] = HALF,
    pad: bool = True,
) -> VisionTransformer:
    """SigLIP and SigLIP 2 (Zhai et al. 2023, Tschannen et al. 2025): no class token."""
    blocks = [
        Block(
            width,
            Attention(width, heads),
            Mlp(width, 4 * width, nn.GELU()),
            drop_path=rate,
        )
        for rate in _rates(drop_path, depth)
    ]
    embed = PatchEmbedding(width, patch, _grid(image_size, patch), class_token=False)
    taps = _quarters(depth) if taps is None else taps
    return VisionTransformer(
        embed, blocks, taps, _pyramid(pyramid, width, taps), mean, std, pad=pad
    )


def eva02(
    width: int,
    depth: int,
    heads: int,
    patch: int = 16,
    image_size: int = 512,
    taps: Sequence[int] | None = None,
    pyramid: str = 'bilinear',
    inner_norm: bool = False,
    hidden: int | None = None,
    trained_grid: int = 16,
    layer_scale: float | None = None,
    drop_path: float = 0.0,
    table: bool = True,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    pad: bool = True,
) -> VisionTransformer:
    """EVA-02 and EVA-02-CLIP (Fang et al. 2023, Sun et al. 2023).

    Rotary positions beside the table, no bias for keys, a gated MLP with an inner norm.
    `inner_norm=True` is the norm inside the attention that EVA-02-CLIP was trained with and
    EVA-02 was not; checkpoints of VLTSeg lack it and need False. `hidden` is the width of the
    gated MLP, 8/3 of `width` by default.
    """
    hidden = int(width * 8 / 3) if hidden is None else hidden
    blocks = [
        Block(
            width,
            Attention(width, heads, k_bias=False, inner_norm=inner_norm),
            SwiGLU(width, hidden),
            layer_scale=layer_scale,
            drop_path=rate,
        )
        for rate in _rates(drop_path, depth)
    ]
    taps = _quarters(depth) if taps is None else taps
    return VisionTransformer(
        PatchEmbedding(width, patch, _grid(image_size, patch), table=table),
        blocks,
        taps,
        _pyramid(pyramid, width, taps),
        mean,
        std,
        rotation=Rotation(width // heads, trained_grid),
        pad=pad,
    )


def sam(
    width: int,
    depth: int,
    heads: int,
    patch: int = 16,
    image_size: int = 1024,
    taps: Sequence[int] | None = None,
    pyramid: str = 'bilinear',
    window: int = 14,
    drop_path: float = 0.0,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    pad: bool = True,
) -> VisionTransformer:
    """The image encoder of SAM (Kirillov et al. 2023) without its neck.

    Attention stays inside windows of `window` patches except in the last block of each quarter.
    """
    grid, everywhere = _grid(image_size, patch), _quarters(depth)
    blocks = [
        SamBlock(width, heads, 0 if index in everywhere else window, grid[0], rate)
        for index, rate in enumerate(_rates(drop_path, depth))
    ]
    embed = PatchEmbedding(width, patch, grid, class_token=False)
    taps = everywhere if taps is None else taps
    return VisionTransformer(
        embed, blocks, taps, _pyramid(pyramid, width, taps), mean, std, pad=pad
    )


def _rates(highest: float, depth: int) -> list[float]:
    return torch.linspace(0, highest, depth, device='cpu').tolist()


def _grid(image_size: int, patch: int) -> tuple[int, int]:
    if image_size < patch:
        raise DgssError(f'image_size {image_size} is smaller than one patch of {patch} pixels.')
    return image_size // patch, image_size // patch


def _quarters(depth: int) -> tuple[int, ...]:
    return tuple(depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))


def _pyramid(name: str, width: int, taps: Sequence[int]) -> Pyramid:
    if name == 'bilinear':
        return BilinearPyramid()
    if name == 'learned':
        return LearnedPyramid(width)
    if name == 'none':
        return OneScale(len(taps))
    raise unknown('pyramid', name, ('bilinear', 'learned', 'none'))
