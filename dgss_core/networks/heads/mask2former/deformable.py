"""Multi-scale deformable attention by `grid_sample`, without a compiled operator."""

import math
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Sizes = list[tuple[int, int]]
"""(height, width) of each level."""


class DeformableAttention(nn.Module):
    """Each query samples `points` places per level and head (Zhu et al., ICLR 2021, eq. 3).

    `width` is the number of channels of queries and values.
    """

    def __init__(self, width: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        self.levels, self.heads, self.points = levels, heads, points
        self.offsets = nn.Linear(width, heads * levels * points * 2)
        self.weights = nn.Linear(width, heads * levels * points)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial offsets: `heads` rays around the query, one pixel further per point."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ray = torch.stack((angle.cos(), angle.sin()), dim=-1)
        ray = ray / ray.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1)
        start = ray[:, None, None] * steps[:, None]
        nn.init.zeros_(self.offsets.weight)
        with torch.no_grad():
            self.offsets.bias.copy_(start.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        for layer in (self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, values: Tensor, places: Tensor, sizes: Sizes) -> Tensor:
        """Attend from queries (B,N,D) to values (B,S,D), S is the sum of h*w over `sizes`.

        Args:
            places: (N,2) reference points, x and y in [0,1], the same in every level.
            sizes: (h,w) of each level, in the order of their concatenation in `values`.
        """
        batch, count, width = queries.shape
        shape = (batch, count, self.heads, self.levels, self.points)
        weights = self.weights(queries).view(*shape[:3], -1).softmax(-1).view(shape)
        weights = weights.permute(3, 0, 2, 1, 4).flatten(1, 2).unsqueeze(2)
        offsets = self.offsets(queries).view(*shape, 2).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)
        # Channels first, so that grid_sample reads views of each level and head without a copy.
        values = self.value(values).transpose(1, 2)
        values = values.reshape(batch * self.heads, width // self.heads, -1)
        levels = values.split([h * w for h, w in sizes], dim=-1)
        attended = []
        for level, (h, w) in enumerate(sizes):
            # Offsets are in pixels of the level; grid_sample expects [-1, 1].
            grid = 2 * (places[:, None] + offsets[level] / offsets.new_tensor((w, h))) - 1
            sampled = F.grid_sample(levels[level].unflatten(2, (h, w)), grid, align_corners=False)
            attended.append((sampled * weights[level]).sum(-1))
        total = reduce(torch.add, attended)
        return self.out(total.view(batch, width, count).transpose(1, 2))
