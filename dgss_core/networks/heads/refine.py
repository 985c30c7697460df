"""Refinement of one window, given coarse scores of the whole image (VFMSeg)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.heads.mask2former.positions import sine_positions
from dgss_core.networks.heads.vit_conv import up_by_4
from dgss_core.networks.losses.counts import Counts
from dgss_core.networks.losses.segmentation import segmentation_loss
from dgss_core.networks.resize import resize


class CrossBlock(nn.Module):
    """Image tokens attend to the embedded coarse scores, then an MLP; norms come first."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query, self.out = nn.Linear(width, inner), nn.Linear(inner, width)
        self.key, self.value = nn.Linear(width, inner), nn.Linear(width, inner)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor, coarse: Tensor, positions: Tensor) -> Tensor:
        """x and coarse (B,N,C); positions (N,C) of both."""
        q = self.query(self.norm(x) + positions)
        k, v = self.key(coarse + positions), self.value(coarse)
        q, k, v = (y.unflatten(2, (self.heads, -1)).transpose(1, 2) for y in (q, k, v))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class RefinementHead(nn.Module):
    """Maps of a plain ViT and coarse scores of the same window to refined logits.

    The refinement of VFMSeg (AAAI 2025): fused image tokens attend to the embedded coarse scores
    in three blocks. Use it as `fine` of `inference.refine_unsure`. Training replaces a part of the
    embedded scores by a learned vector, so that the head also uses the image. The sizes are as
    published; norm order, sine positions and upsampling are ours.

    Args:
        channels, strides: of the maps; all have one stride, which 4 divides.
        width: channels of the tokens.
        heads, head_width: of the attention.
        groups: of the group norms.
        hidden_share: part of the coarse scores that is hidden in training, in [0,1].
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        width: int = 256,
        blocks: int = 3,
        heads: int = 8,
        head_width: int = 64,
        groups: int = 32,
        hidden_share: float = 0.2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if len(set(strides)) != 1 or strides[0] % 4:
            raise DgssError(
                f'the refinement head needs maps of one stride that 4 divides, not strides '
                f'{tuple(strides)}; give the ViT no pyramid.'
            )
        self.stride, self.hidden_share = strides[0] // 4, hidden_share
        self.fuse = nn.Sequential(
            nn.Conv2d(sum(channels), width, 1), nn.GroupNorm(groups, width), nn.GELU()
        )
        quarter = width // 4
        self.embed = nn.Sequential(
            nn.Conv2d(num_classes, quarter, 2, stride=2),
            nn.GroupNorm(min(groups, quarter), quarter),
            nn.GELU(),
            nn.Conv2d(quarter, width, 2, stride=2),
            nn.GroupNorm(groups, width),
            nn.GELU(),
            nn.Conv2d(width, width, 1),
        )
        self.hidden = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(CrossBlock(width, heads, head_width) for _ in range(blocks))
        self.up = up_by_4(width)
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(quarter, num_classes, 1))

    def forward(self, features: list[Tensor], coarse: Tensor) -> Tensor:
        """Logits (B,C,h,w) at `stride` from maps and coarse scores (B,C,any,any)."""
        x = self.fuse(torch.cat(features, dim=1))
        size = (x.shape[-2], x.shape[-1])
        known = self.embed(resize(coarse, (4 * size[0], 4 * size[1])))
        known = known.flatten(2).transpose(1, 2)
        if self.training:
            hidden = torch.rand(known.shape[:2], device=x.device) < self.hidden_share
            known = torch.where(hidden.unsqueeze(2), self.hidden, known)
        tokens = x.flatten(2).transpose(1, 2)
        positions = sine_positions(size, x.shape[1], like=x).flatten(1).T
        for block in self.blocks:
            tokens = block(tokens, known, positions)
        return self.classify(self.up(tokens.transpose(1, 2).unflatten(2, size)))

    def loss(
        self,
        features: list[Tensor],
        coarse: Tensor,
        labels: Tensor,
        *,
        counts: Counts | None = None,
    ) -> dict[str, Tensor]:
        """Cross-entropy for labels (B,H,W) long; 255 is ignored."""
        return {'refined_ce': segmentation_loss(self(features, coarse), labels, counts=counts)}
