"""The all-MLP head of SegFormer (Xie et al., NeurIPS 2021, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dgss_core.networks.heads.head import PixelHead
from dgss_core.networks.layers import conv_bn_relu
from dgss_core.networks.resize import resize


class AllMlpHead(PixelHead):
    """Each map to `width` channels, resized to the finest, joined, fused, classified.

    Args:
        activated: a batch norm and a ReLU follow the projection of each map, as in openmmlab; the
            authors have a bias instead.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        width: int = 256,
        activated: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, strides, num_classes, strides[0])
        self.project = nn.ModuleList(
            conv_bn_relu(count, width) if activated else nn.Conv2d(count, width, 1)
            for count in self.channels
        )
        self.fuse = conv_bn_relu(width * len(self.channels), width)
        self.drop = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, num_classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        size = features[0].shape[-2:]
        maps = [
            resize(project(x), size) for project, x in zip(self.project, features, strict=True)
        ]
        return self.classify(self.drop(self.fuse(torch.cat(maps, dim=1))))
