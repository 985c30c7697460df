"""Context at the coarsest map: means over windows of several sizes, from narrow to all."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dgss_core.networks.layers import bn_relu_conv
from dgss_core.networks.resize import resize


class PoolingPyramid(nn.Module, ABC):
    """The map itself and its means over 5, 9, 17 and all cells, each projected to `width`."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.pools = nn.ModuleList(
            [nn.Identity()]
            + [nn.AvgPool2d(2 * side + 1, side, side) for side in (2, 4, 8)]
            + [nn.AdaptiveAvgPool2d(1)]
        )
        self.scales = nn.ModuleList(bn_relu_conv(inputs, width) for _ in self.pools)
        self.compress = bn_relu_conv(width * len(self.pools), outputs)
        self.shortcut = bn_relu_conv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        pairs = zip(self.scales, self.pools, strict=True)
        own, *wider = (resize(scale(pool(x)), x.shape[-2:]) for scale, pool in pairs)
        return self.compress(torch.cat(self.joined(own, wider), dim=1)) + self.shortcut(x)

    @abstractmethod
    def joined(self, own: Tensor, wider: list[Tensor]) -> list[Tensor]:
        """The map itself and the wider ones, as they are compressed together."""


class DeepPyramid(PoolingPyramid):
    """DAPPM of DDRNet (figure 5): each scale is added to the one before it and smoothed."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__(inputs, width, outputs)
        self.smooth = nn.ModuleList(bn_relu_conv(width, width, 3) for _ in self.pools[1:])

    def joined(self, own: Tensor, wider: list[Tensor]) -> list[Tensor]:
        maps = [own]
        for smooth, scale in zip(self.smooth, wider, strict=True):
            maps.append(smooth(scale + maps[-1]))
        return maps


class ParallelPyramid(PoolingPyramid):
    """PAPPM of PIDNet (figure 6): all scales are smoothed at once, without waiting."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__(inputs, width, outputs)
        groups = len(self.pools) - 1
        self.smooth = bn_relu_conv(width * groups, width * groups, 3, groups=groups)

    def joined(self, own: Tensor, wider: list[Tensor]) -> list[Tensor]:
        return [own, self.smooth(torch.cat([scale + own for scale in wider], dim=1))]
