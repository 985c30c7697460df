"""BiSeNetV2 (Yu et al., IJCV 2021, figure 3): a wide shallow and a narrow deep branch.

image -+-> detail 1/2 -> 1/4 -> 1/8 ------------------------------+-> fused 1/8
       |                                                          | each gates the other
       +-> stem 1/4 -> 1/8 -> 1/16 -> 1/32 -> context embedding --+
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.errors import unknown
from dgss_core.networks.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder
from dgss_core.networks.layers import conv_bn

UPSAMPLING = ('bilinear', 'nearest')


class Stem(nn.Module):
    """Stem block (figure 4a): convolutions and a maximum in parallel, to stride 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv_bn(3, width, 3, 2)
        self.left = nn.Sequential(conv_bn(width, width // 2, 1), conv_bn(width // 2, width, 3, 2))
        self.right = nn.MaxPool2d(3, 2, 1)
        self.fuse = conv_bn(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.fuse(torch.cat((self.left(x), self.right(x)), dim=1))


class GatherExpand(nn.Module):
    """Gather-and-expansion layer (figure 5): 3x3, depthwise to `expansion` times, 1x1."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.gather = conv_bn(inputs, inputs)
        self.shortcut: nn.Module = nn.Identity()
        widen = [conv_bn(inputs, middle, groups=inputs)]
        if stride > 1:
            widen = [
                conv_bn(inputs, middle, 3, stride, groups=inputs, relu=False),
                conv_bn(middle, middle, groups=middle),
            ]
            self.shortcut = nn.Sequential(
                conv_bn(inputs, inputs, 3, stride, groups=inputs, relu=False),
                conv_bn(inputs, outputs, 1, relu=False),
            )
        self.expand = nn.Sequential(*widen)
        self.project = conv_bn(middle, outputs, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.project(self.expand(self.gather(x))) + self.shortcut(x))


class ContextEmbedding(nn.Module):
    """Context embedding block (figure 4b): the mean of the map is added to each cell."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.embed = conv_bn(width, width, 1)
        self.last = conv_bn(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.embed(self.norm(x.mean(dim=(2, 3), keepdim=True))))


class Aggregation(nn.Module):
    """Bilateral guided aggregation (figure 6): each branch gates the other, at both scales.

    `upsampling` is the mode of `interpolate`.
    """

    def __init__(self, width: int, upsampling: str) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.detail = self._separable(width)
        self.detail_down = nn.Sequential(
            conv_bn(width, width, 3, 2, relu=False), nn.AvgPool2d(3, 2, 1)
        )
        self.semantic_up = conv_bn(width, width, relu=False)
        self.semantic = self._separable(width)
        self.fuse = conv_bn(width, width)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        size = detail.shape[-2:]
        fine = self.detail(detail) * self._up(self.semantic_up(semantic), size).sigmoid()
        coarse = self.detail_down(detail) * self.semantic(semantic).sigmoid()
        return self.fuse(fine + self._up(coarse, size))

    def _up(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return F.interpolate(x, tuple(size), mode=self.upsampling)

    @staticmethod
    def _separable(width: int) -> nn.Sequential:
        depthwise = conv_bn(width, width, groups=width, relu=False)
        return nn.Sequential(depthwise, nn.Conv2d(width, width, 1))


class BiSeNetV2(Encoder):
    """Five maps: the semantic branch at strides 4, 8, 16 and 32, and the fused map at stride 8.

    `detail` and `semantic` are the channels of the branches' stages; the last of each must be
    equal. OpenMMLab's network has an `upsampling` of 'bilinear', CoinCheung's of 'nearest'.
    Images are padded to a multiple of 32. Published networks do not pad; `pad=False` does the
    same.
    """

    ends_in_relu = True

    def __init__(
        self,
        detail: Sequence[int] = (64, 64, 128),
        semantic: Sequence[int] = (16, 32, 64, 128),
        expansion: int = 6,
        upsampling: str = 'bilinear',
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        pad: bool = True,
    ) -> None:
        if upsampling not in UPSAMPLING:
            raise unknown('upsampling', upsampling, UPSAMPLING)
        super().__init__((*semantic, detail[-1]), (4, 8, 16, 32, 8), 32, mean, std, pad)
        self.detail = nn.ModuleList(
            _detail_stage(inputs, outputs, count)
            for inputs, outputs, count in zip((3, *detail), detail, (2, 3, 3), strict=False)
        )
        self.stem = Stem(semantic[0])
        self.semantic = nn.ModuleList(
            _semantic_stage(inputs, outputs, count, expansion)
            for inputs, outputs, count in zip(semantic, semantic[1:], (2, 2, 4), strict=False)
        )
        self.context = ContextEmbedding(semantic[-1])
        self.aggregate = Aggregation(detail[-1], upsampling)

    def maps(self, x: Tensor) -> list[Tensor]:
        semantic = self.run(self.stem, x)
        maps = [semantic]
        for part in self.semantic:
            semantic = self.run(part, semantic)
            maps.append(semantic)
        detail = x
        for part in self.detail:
            detail = self.run(part, detail)
        maps.append(self.run(self.aggregate, detail, self.run(self.context, semantic)))
        return [self.adapt(y, index) for index, y in enumerate(maps)]

    def trunk(self) -> list[list[nn.Module]]:
        stages = [list(part.children()) for part in self.semantic]
        return [[self.stem], *stages, [*self.detail, self.context, self.aggregate]]


def _detail_stage(inputs: int, outputs: int, count: int) -> nn.Sequential:
    others = [conv_bn(outputs, outputs) for _ in range(count - 1)]
    return nn.Sequential(conv_bn(inputs, outputs, 3, 2), *others)


def _semantic_stage(inputs: int, outputs: int, count: int, expansion: int) -> nn.Sequential:
    others = [GatherExpand(outputs, outputs, 1, expansion) for _ in range(count - 1)]
    return nn.Sequential(GatherExpand(inputs, outputs, 2, expansion), *others)
