"""Transformer decoder with masked attention: queries in, a class and a mask per query out."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.networks.heads.mask2former.positions import sine_positions
from dgss_core.networks.resize import resize


class QueryMasks(NamedTuple):
    """Predictions of N queries: logits `classes` (B,N,C+1) and `masks` (B,N,h,w).

    The last class is "no object".
    """

    classes: Tensor
    masks: Tensor


class QueryAttention(nn.Module):
    """Multi-head attention from queries to separate keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, allowed: Tensor | None = None
    ) -> Tensor:
        """(B,N,D) from queries (B,N,D), keys and values (B,S,D); `allowed` (B,1,N,S) bool."""
        q, k, v = self.query(queries), self.key(keys), self.value(values)
        q, k, v = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (q, k, v))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.out(attended.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    """Masked cross-attention, self-attention, MLP; a norm follows each sum."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.cross = QueryAttention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.self_ = QueryAttention(width, heads)
        self.self_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.mlp_norm = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, places: Tensor, memory: Tensor, positions: Tensor, allowed: Tensor
    ) -> Tensor:
        """x and places (B,N,D), memory (B,S,D), positions (S,D), allowed (B,1,N,S)."""
        attended = self.cross(x + places, memory + positions, memory, allowed)
        x = self.cross_norm(x + attended)
        x = self.self_norm(x + self.self_(x + places, x + places, x))
        return self.mlp_norm(x + self.mlp(x))


class LinearClassifier(nn.Module):
    """Class logits of a query from the query alone."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, num_classes + 1)

    def forward(self, queries: Tensor, masks: Tensor, mask_feature: Tensor) -> Tensor:
        return self.linear(queries)


def mlp3(width: int, outputs: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, width),
        activation(),
        nn.Linear(width, width),
        activation(),
        nn.Linear(width, outputs),
    )


def allowed_places(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """(B,1,N,S) bool: a query attends inside its own mask, or everywhere if the mask is empty.

    `masks` are logits (B,N,h,w), resized to `size` (height, width); S = height * width.
    """
    outside = resize(masks.detach(), size).sigmoid().flatten(2) < 0.5
    empty = outside.all(dim=-1, keepdim=True)
    return (~outside | empty).unsqueeze(1)


class MaskDecoder(nn.Module):
    """Mask2Former, section 3.2: predictions before the first and after each of `layers` layers.

    The queries are learned here, or given to `forward` with `linked=True`: the given vector is
    then the query's position, and a linear map of it the first content (Rein, section 3.4).

    Args:
        classifier: (queries (B,N,D), masks (B,N,h,w), mask feature (B,E,h,w)) -> (B,N,C+1).
        levels: number of memories from the pixel decoder; layer i reads memory i mod levels.
    """

    def __init__(
        self,
        classifier: nn.Module,
        queries: int = 100,
        width: int = 256,
        mask_width: int = 256,
        levels: int = 3,
        layers: int = 9,
        heads: int = 8,
        hidden: int = 2048,
        linked: bool = False,
    ) -> None:
        super().__init__()
        self.linked = linked
        if linked:
            self.content = nn.Linear(width, width)
        else:
            self.query_content = nn.Parameter(torch.randn(queries, width))
            self.query_place = nn.Parameter(torch.randn(queries, width))
        self.level_embedding = nn.Parameter(torch.randn(levels, width))
        self.layers = nn.ModuleList(DecoderLayer(width, heads, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.mask_embedding = mlp3(width, mask_width)
        self.reset_parameters()
        self.classifier = classifier

    def reset_parameters(self) -> None:
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.layers.modules():
            if isinstance(module, QueryAttention):
                # The published code draws the three as one matrix with three times the outputs.
                for layer in (module.query, module.key, module.value):
                    nn.init.xavier_uniform_(layer.weight, gain=2**-0.5)

    def start(self, queries: Tensor | None) -> tuple[Tensor, Tensor]:
        """Initial content and position of the queries, both (N,D)."""
        if self.linked != (queries is not None):
            wanted = 'needs queries from outside' if self.linked else 'has its own queries'
            raise ValueError(f'this mask decoder {wanted}')
        if queries is None:
            return self.query_content, self.query_place
        return self.content(queries), queries

    def predict(self, x: Tensor, mask_feature: Tensor) -> QueryMasks:
        queries = self.norm(x)
        masks = torch.einsum('bnc,bchw->bnhw', self.mask_embedding(queries), mask_feature)
        return QueryMasks(self.classifier(queries, masks, mask_feature), masks)

    def forward(
        self, mask_feature: Tensor, memories: list[Tensor], queries: Tensor | None = None
    ) -> list[QueryMasks]:
        """All predictions; the last one is the result."""
        content, places = self.start(queries)
        x = content.expand(mask_feature.shape[0], -1, -1)
        sizes = [(memory.shape[-2], memory.shape[-1]) for memory in memories]
        tokens = [
            memory.flatten(2).transpose(1, 2) + embedding
            for memory, embedding in zip(memories, self.level_embedding, strict=True)
        ]
        positions = [sine_positions(size, x.shape[-1], like=x).flatten(1).T for size in sizes]
        predictions = [self.predict(x, mask_feature)]
        for index, layer in enumerate(self.layers):
            level = index % len(memories)
            allowed = allowed_places(predictions[-1].masks, sizes[level])
            x = layer(x, places, tokens[level], positions[level], allowed)
            predictions.append(self.predict(x, mask_feature))
        return predictions
