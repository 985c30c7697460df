"""Linear head, to compare encoders."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dgss_core.networks.heads.head import PixelHead, refuse_stride
from dgss_core.networks.resize import resize


class LinearHead(PixelHead):
    """Batch norm and one 1x1 convolution over all maps, resized to the map at `stride`.

    `stride` must be the stride of one of the maps; the coarsest by default.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        stride: int | None = None,
    ) -> None:
        stride = strides[-1] if stride is None else stride
        super().__init__(channels, strides, num_classes, stride)
        refuse_stride('the linear head', stride, self.strides)
        self.level = self.strides.index(stride)
        self.norm = nn.BatchNorm2d(sum(self.channels))
        self.classify = nn.Conv2d(sum(self.channels), num_classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        size = features[self.level].shape[-2:]
        return self.classify(self.norm(torch.cat([resize(x, size) for x in features], dim=1)))
