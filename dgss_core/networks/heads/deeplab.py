"""DeepLabV3+ (Chen et al., ECCV 2018), the head of FAMix."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.heads.head import PixelHead
from dgss_core.networks.layers import conv_bn_relu
from dgss_core.networks.resize import resize


class AtrousPyramid(nn.Module):
    """ASPP: one 1x1, three dilated 3x3 and the global mean in parallel."""

    def __init__(self, inputs: int, width: int, dilations: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_bn_relu(inputs, width)]
            + [conv_bn_relu(inputs, width, 3, dilation) for dilation in dilations]
        )
        self.pooled = conv_bn_relu(inputs, width)
        self.project = conv_bn_relu(width * (len(dilations) + 2), width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        maps = [branch(x) for branch in self.branches]
        return self.dropout(self.project(torch.cat([*maps, pooled], dim=1)))


class DeepLabHead(PixelHead):
    """ASPP on the coarsest map, joined with a narrow projection of the finest.

    Scores have the stride of the finest map. The maps between are not used. The default dilations
    depend on the coarsest stride: 12, 24, 36 at stride 8, otherwise 6, 12, 18.

    Args:
        detail: channels that the finest map is projected to.
        label_smoothing: of the cross-entropy; FAMix trains with 0.1.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        width: int = 256,
        detail: int = 48,
        dilations: Sequence[int] | None = None,
        dropout: float = 0.1,
        label_smoothing: float = 0.1,
    ) -> None:
        super().__init__(channels, strides, num_classes, strides[0])
        if strides[-1] <= strides[0]:
            raise DgssError(
                f'DeepLabV3+ joins a coarse map with a finer one, but the strides are '
                f'{tuple(strides)}; give it the maps of a pyramid, finest first.'
            )
        if dilations is None:
            dilations = (12, 24, 36) if strides[-1] == 8 else (6, 12, 18)
        self.label_smoothing = label_smoothing
        self.pyramid = AtrousPyramid(channels[-1], width, dilations, dropout)
        self.detail = conv_bn_relu(channels[0], detail)
        self.fuse = conv_bn_relu(width + detail, width, 3)
        self.classify = nn.Conv2d(width, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, features: list[Tensor]) -> Tensor:
        detail = self.detail(features[0])
        context = resize(self.pyramid(features[-1]), detail.shape[-2:])
        return self.classify(self.fuse(torch.cat((detail, context), dim=1)))
