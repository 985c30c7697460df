"""DDRNet (Hong et al., 2021, figure 4): two resolutions that exchange their maps twice.

image -> stem 1/8 -+-> context 1/16 -+---> context 1/32 -+---> context 1/64 -> pooling
                   |      down ^     | compress   ^      |                        |
                   +-> spatial 1/8 --+-> spatial 1/8 ----+-> spatial 1/8 -------- + -> fused
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.networks.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder
from dgss_core.networks.encoders.pooling import DeepPyramid
from dgss_core.networks.encoders.residual import BasicBlock, Bottleneck, stage, stem
from dgss_core.networks.layers import conv_bn
from dgss_core.networks.resize import resize


class DDRNet(Encoder):
    """Two maps at stride 8: the spatial branch after the first exchange, and the fused map.

    `width` is 32 in DDRNet-23-slim and 64 in DDRNet-23; `pooled` is the width of the pooling.
    Images are padded to the stride of the coarsest map, 64. The published network takes multiples
    of 8 and stretches its coarse maps; `pad=False` does the same.
    """

    ends_in_relu = True

    def __init__(
        self,
        width: int = 32,
        pooled: int = 128,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        pad: bool = True,
    ) -> None:
        super().__init__((2 * width, 4 * width), (8, 8), 64, mean, std, pad)
        fine, middle, coarse = 2 * width, 4 * width, 8 * width
        self.stem = stem(width, blocks=2)
        self.context = nn.ModuleList(
            [
                stage(BasicBlock, fine, middle, 2, 2),
                stage(BasicBlock, middle, coarse, 2, 2),
                stage(Bottleneck, coarse, coarse, 1, 2),
            ]
        )
        self.spatial = nn.ModuleList(
            [
                stage(BasicBlock, fine, fine, 2),
                stage(BasicBlock, fine, fine, 2),
                stage(Bottleneck, fine, fine, 1),
            ]
        )
        self.compress = nn.ModuleList(
            conv_bn(inputs, fine, 1, relu=False) for inputs in (middle, coarse)
        )
        self.down = nn.ModuleList(
            [
                nn.Sequential(conv_bn(fine, middle, 3, 2, relu=False)),
                nn.Sequential(
                    conv_bn(fine, middle, 3, 2), conv_bn(middle, coarse, 3, 2, relu=False)
                ),
            ]
        )
        self.pyramid = DeepPyramid(2 * coarse, pooled, middle)

    def maps(self, x: Tensor) -> list[Tensor]:
        context = spatial = self.run(self.stem, x)
        spatials = []
        for index in range(2):
            context = self.run(self.context[index], F.relu(context))
            spatial = self.run(self.spatial[index], F.relu(spatial))
            up, down = self.compress[index](F.relu(context)), self.down[index](F.relu(spatial))
            context, spatial = context + down, spatial + resize(up, spatial.shape[-2:])
            spatials.append(spatial)
        context = self.run(self.pyramid, self.run(self.context[2], F.relu(context)))
        spatial = self.run(self.spatial[2], F.relu(spatial))
        fused = spatial + resize(context, spatial.shape[-2:])
        return [self.adapt(y, index) for index, y in enumerate((spatials[0], fused))]

    def trunk(self) -> list[list[nn.Module]]:
        exchanges = [
            [self.context[index], self.spatial[index], self.compress[index], self.down[index]]
            for index in range(2)
        ]
        return [[*self.stem], *exchanges, [self.spatial[2], self.context[2], self.pyramid]]
