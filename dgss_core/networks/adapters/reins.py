"""Rein (Wei et al., CVPR 2024): learned tokens that refine the features between frozen blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Reins(nn.Module):
    """`tokens` learned tokens T per layer; all other weights are shared by the layers.

    After layer i, with features f (B,N,width):

        S = softmax(f T_i^T / sqrt(width))              over all tokens
        f <- f + scale * delta(S[1:] feature(T_i[1:]) + f)

    The first token only absorbs probability, so that features can stay unchanged. With `rank` the
    tokens are products A_i B_i of that rank. Published options: `softmax=False` omits softmax and
    root, `zero_delta=True` starts with delta = 0 and has no scale. With `refined`, the numbers of
    `layers` blocks, the features change only after these blocks.

    The tokens also give the queries of a mask decoder, see `queries`; `link=False` omits this.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        tokens: int = 100,
        rank: int | None = 16,
        query_width: int = 256,
        patch: int = 16,
        scale: float = 1e-3,
        softmax: bool = True,
        zero_delta: bool = False,
        link: bool = True,
        refined: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.layers, self.softmax = layers, softmax
        self.refined = None if refined is None else tuple(refined)
        if rank is None:
            self.tokens = nn.Parameter(torch.empty(layers, tokens, width))
        else:
            self.tokens_a = nn.Parameter(torch.empty(layers, tokens, rank))
            self.tokens_b = nn.Parameter(torch.empty(layers, rank, width))
        self.rank = rank
        self.feature, self.delta = nn.Linear(width, width), nn.Linear(width, width)
        self.scale = None if zero_delta else nn.Parameter(torch.tensor(scale))
        self.link = link
        if link:
            self.to_query = nn.Linear(width, query_width)
            self.merge = nn.Linear(3 * query_width, query_width)
        self._initialise(patch, width)

    def layer_tokens(self) -> Tensor:
        """Tokens of all layers (layers,tokens,width)."""
        return self.tokens if self.rank is None else self.tokens_a @ self.tokens_b

    def forward(self, x: Tensor, layer: int, prefix: int = 0) -> Tensor:
        """Refine (B,N,width) after block `layer`; the first `prefix` tokens do not change."""
        if self.refined is not None:
            if layer not in self.refined:
                return x
            layer = self.refined.index(layer)
        if prefix:
            return torch.cat((x[:, :prefix], self._refine(x[:, prefix:], layer)), dim=1)
        return self._refine(x, layer)

    def _refine(self, x: Tensor, layer: int) -> Tensor:
        if self.rank is None:
            tokens = self.tokens[layer]
        else:
            tokens = self.tokens_a[layer] @ self.tokens_b[layer]
        similarity = x @ tokens.T
        if self.softmax:
            similarity = (similarity / math.sqrt(x.shape[-1])).softmax(dim=-1)
        change = self.delta(similarity[..., 1:] @ self.feature(tokens[1:]) + x)
        return x + change if self.scale is None else x + change * self.scale

    def queries(self) -> Tensor:
        """Queries (tokens,query_width), the same for every image.

        Each query merges a token's maximum, mean and last value over the layers, interleaved by
        channel.
        """
        if not self.link:
            raise ValueError('built without the link to queries: give link=True')
        queries = self.to_query(self.layer_tokens())
        seen = torch.stack((queries.amax(dim=0), queries.mean(dim=0), queries[-1]), dim=-1)
        return self.merge(seen.flatten(1))

    def _initialise(self, patch: int, width: int) -> None:
        if self.rank is None:
            bound = math.sqrt(6 / (3 * patch**2 + width))
            nn.init.uniform_(self.tokens, -bound, bound)
        else:
            bound = math.sqrt(6 / (3 * patch**2 + math.sqrt(width * self.rank)))
            nn.init.uniform_(self.tokens_a, -bound, bound)
            nn.init.uniform_(self.tokens_b, -bound, bound)
        nn.init.kaiming_uniform_(self.feature.weight, a=math.sqrt(5))
        if self.scale is None:
            nn.init.zeros_(self.delta.weight)
            nn.init.zeros_(self.delta.bias)
        else:
            nn.init.kaiming_uniform_(self.delta.weight, a=math.sqrt(5))


class StageReins(nn.Module):
    """Rein for ResNet and ConvNeXt: one `Reins` per stage, queries summed.

    The `Reins` of a stage has as many layers as `depths` says: its blocks have tokens of their own
    and share the other weights. By default a stage is refined once, at its end.
    """

    def __init__(
        self, widths: Sequence[int], depths: Sequence[int] | None = None, **options: Any
    ) -> None:
        super().__init__()
        depths = depths or [1] * len(widths)
        self.stages = nn.ModuleList(
            Reins(depth, width, **options) for depth, width in zip(depths, widths, strict=True)
        )

    def forward(self, x: Tensor, stage: int, block: int = 0) -> Tensor:
        """Refine (B,N,widths[stage]) after a block of a stage."""
        return self.stages[stage](x, block)

    def queries(self) -> Tensor:
        """Queries (tokens,query_width), the same for every image."""
        queries = [stage.queries() for stage in self.stages if isinstance(stage, Reins)]
        return torch.stack(queries).sum(dim=0)
