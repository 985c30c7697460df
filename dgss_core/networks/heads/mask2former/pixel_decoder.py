"""Pixel decoder: deformable attention over the coarse maps, then a pyramid step to the finest."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dgss_core.networks.heads.mask2former.deformable import DeformableAttention, Sizes
from dgss_core.networks.heads.mask2former.positions import sine_positions
from dgss_core.networks.resize import resize


class EncoderLayer(nn.Module):
    """Deformable self-attention and a two-layer MLP, each followed by its norm."""

    def __init__(self, width: int, levels: int, heads: int, points: int, hidden: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(width, levels, heads, points)
        self.attention_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.mlp_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor, places: Tensor, sizes: Sizes) -> Tensor:
        x = self.attention_norm(x + self.attention(x + positions, x, places, sizes))
        return self.mlp_norm(x + self.mlp(x))


def pixel_centres(size: tuple[int, int], like: Tensor) -> Tensor:
    """(height*width,2) pixel centres of `size` (height, width), x and y in [0,1], row by row."""
    height, width = size
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
    return torch.stack((x.repeat(height), y.repeat_interleave(width)), dim=-1)


class PixelDecoder(nn.Module):
    """Encoder maps to a mask feature (B,mask_width,h,w) and the attended coarse maps.

    Mask2Former, section 3.2.2. All maps except the finest are projected to `width` channels and
    attend to each other. One feature-pyramid step joins the finest.

    Args:
        channels: of the maps, finest first.
        mask_width: channels of the mask feature.
        groups: of the group norms.
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int = 256,
        mask_width: int = 256,
        layers: int = 6,
        heads: int = 8,
        points: int = 4,
        hidden: int = 1024,
        groups: int = 32,
    ) -> None:
        super().__init__()
        finest, *coarse = channels
        self.project = nn.ModuleList(
            nn.Sequential(nn.Conv2d(count, width, 1), nn.GroupNorm(groups, width))
            for count in reversed(coarse)
        )
        self.level_embedding = nn.Parameter(torch.randn(len(coarse), width))
        self.layers = nn.ModuleList(
            EncoderLayer(width, len(coarse), heads, points, hidden) for _ in range(layers)
        )
        self.lateral = nn.Sequential(
            nn.Conv2d(finest, width, 1, bias=False), nn.GroupNorm(groups, width)
        )
        self.join = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(groups, width),
            nn.ReLU(),
        )
        self.mask_feature = nn.Conv2d(width, mask_width, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d) and conv is not self.mask_feature:
                nn.init.kaiming_uniform_(conv.weight, a=1)
                if conv.bias is not None:
                    nn.init.zeros_(conv.bias)
        for layer in self.layers.modules():
            if isinstance(layer, EncoderLayer):
                for linear in layer.mlp:
                    if isinstance(linear, nn.Linear):
                        nn.init.xavier_uniform_(linear.weight)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Mask feature at the size of the finest map, and the memories from coarse to fine."""
        finest, *coarse = features
        maps = [project(x) for project, x in zip(self.project, reversed(coarse), strict=True)]
        sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
        memories = self.attend(maps, sizes)
        fine = self.lateral(finest)
        fine = self.join(fine + resize(memories[-1], fine.shape[-2:]))
        return self.mask_feature(fine), memories

    def attend(self, maps: list[Tensor], sizes: Sizes) -> list[Tensor]:
        """The coarse maps after all layers."""
        width = maps[0].shape[1]
        x = torch.cat([m.flatten(2) for m in maps], dim=2).transpose(1, 2).contiguous()
        positions = torch.cat(
            [
                sine_positions(size, width, like=x).flatten(1).T + self.level_embedding[level]
                for level, size in enumerate(sizes)
            ]
        )
        places = torch.cat([pixel_centres(size, like=x) for size in sizes])
        for layer in self.layers:
            x = layer(x, positions, places, sizes)
        parts = x.transpose(1, 2).split([h * w for h, w in sizes], dim=2)
        return [part.unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]
