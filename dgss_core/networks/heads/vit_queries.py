"""What the heads share whose queries join the last blocks of a ViT."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dgss_core.networks.encoders.positions import Grid, Rotation
from dgss_core.networks.heads.head import Head
from dgss_core.networks.heads.mask2former.decoder import QueryMasks


class VitQueryHead(Head):
    """Queries among the tokens of a ViT; each gives a class and a mask.

        queries, prefix, patches -> blocks of the subclass -> norm -> queries, patches
        queries -> class; mask embedding x map -> masks

    A subclass calls `add_queries` after it has its blocks, and gives `mask_embedding`.
    """

    probabilities = True
    rotation: Rotation | None
    mask_embedding: nn.Module

    def add_queries(self, count: int, rotation: Rotation | None, prefix: int = 0) -> None:
        """Add `count` queries before `prefix` tokens of the encoder; none of them is rotated."""
        (width,) = self.channels
        self.rotation = None if rotation is None else rotation.with_prefix(count + prefix)
        self.queries = nn.Parameter(torch.randn(count, width))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.classify = nn.Linear(width, self.num_classes + 1)

    def join(self, x: Tensor, *prefix: Tensor) -> tuple[Tensor, Grid]:
        """Tokens (B,N,C) of queries, prefix and the map x (B,C,h,w), and their positions."""
        height, width = x.shape[-2:]
        grid = Grid(height, width)
        if self.rotation is not None:
            grid = self.rotation(height=height, width=width)
        queries = self.queries.expand(x.shape[0], -1, -1)
        return torch.cat((queries, *prefix, x.flatten(2).transpose(1, 2)), dim=1), grid

    def split(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """Queries (B,N,C) and patches (B,C,h,w) of tokens, behind the norm."""
        tokens = self.norm(tokens)
        queries, patches = tokens[:, : len(self.queries)], tokens[:, -grid.height * grid.width :]
        return queries, patches.transpose(1, 2).unflatten(2, (grid.height, grid.width))

    def masks(self, queries: Tensor, image: Tensor) -> QueryMasks:
        """A class and a mask of each query (B,N,C) on the map (B,E,H,W)."""
        masks = torch.einsum('bnc,bchw->bnhw', self.mask_embedding(queries), image)
        return QueryMasks(self.classify(queries), masks)
