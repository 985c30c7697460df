"""PIDNet (Xu et al., CVPR 2023, figure 4): a detail, a context and a boundary branch.

image -> stem 1/8 -+-> context 1/16 -+-> context 1/32 -+-> context 1/64 -> pooling
                   |                 | compress, guide |                      |
                   +-> detail -------+-> detail -------+-> detail ------------+-> fuse -> fused
                   |                 | difference      |                      | where
                   +-> boundary -----+-> boundary -----+-> boundary ----------+

The paper's names are P (proportional) for detail, I (integral) for context and D (derivative) for
boundary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.networks.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder
from dgss_core.networks.encoders.pooling import DeepPyramid, ParallelPyramid
from dgss_core.networks.encoders.residual import (
    BasicBlock,
    Bottleneck,
    stage,
    stem,
)
from dgss_core.networks.layers import bn_relu_conv, conv_bn
from dgss_core.networks.resize import resize


class Guide(nn.Module):
    """Pag (figure 5): each pixel takes details or context, by how well the two agree there."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.of_detail = conv_bn(inputs, width, 1, relu=False)
        self.of_context = conv_bn(inputs, width, 1, relu=False)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        size = detail.shape[-2:]
        agreement = self.of_detail(detail) * resize(self.of_context(context), size)
        trust = torch.sigmoid(agreement.sum(dim=1, keepdim=True))
        return trust * resize(context, size) + (1 - trust) * detail


class Fusion(nn.Module):
    """Bag (figure 7a): details at boundaries, context elsewhere."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = bn_relu_conv(width, width, 3)

    def forward(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        edge = torch.sigmoid(boundary)
        return self.conv(edge * detail + (1 - edge) * context)


class LightFusion(nn.Module):
    """Light-Bag (figure 7b): the same choice with two 1x1 convolutions instead of a 3x3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_detail = conv_bn(width, width, 1, relu=False)
        self.of_context = conv_bn(width, width, 1, relu=False)

    def forward(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        edge = torch.sigmoid(boundary)
        details = self.of_detail((1 - edge) * context + detail)
        return details + self.of_context(context + edge * detail)


class PIDNet(Encoder):
    """Three maps at stride 8: details after the first guide, boundaries after the second stage,
    and the fused map.

    PIDNet-S has a `width` of 32, PIDNet-M of 64. PIDNet-L has 64, `pooled=112`, `stem_blocks=3`,
    `branch_blocks=4`, and `light=False`: a wider boundary branch, the deep pyramid and the full
    fusion. Padding is as in `DDRNet`.
    """

    ends_in_relu = True

    def __init__(
        self,
        width: int = 32,
        pooled: int = 96,
        stem_blocks: int = 2,
        branch_blocks: int = 3,
        light: bool = True,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        pad: bool = True,
    ) -> None:
        super().__init__((2 * width, 2 * width, 4 * width), (8, 8, 8), 64, mean, std, pad)
        fine, middle, coarse = 2 * width, 4 * width, 8 * width
        self.stem = stem(width, stem_blocks)
        self.context = nn.ModuleList(
            [
                stage(BasicBlock, fine, middle, branch_blocks, 2),
                stage(BasicBlock, middle, coarse, branch_blocks, 2),
                stage(Bottleneck, coarse, coarse, 2, 2),
            ]
        )
        self.detail = nn.ModuleList(
            [
                stage(BasicBlock, fine, fine, stem_blocks),
                stage(BasicBlock, fine, fine, stem_blocks),
                stage(Bottleneck, fine, fine, 1),
            ]
        )
        thin = width if light else fine
        second = Bottleneck(thin, thin) if light else BasicBlock(thin, fine, relu=False)
        self.boundary = nn.ModuleList(
            [BasicBlock(fine, thin, relu=False), second, Bottleneck(fine, fine)]
        )
        self.compress = nn.ModuleList(
            conv_bn(inputs, fine, 1, relu=False) for inputs in (middle, coarse)
        )
        self.guide = nn.ModuleList(Guide(fine, width) for _ in range(2))
        self.difference = nn.ModuleList(
            [conv_bn(middle, thin, relu=False), conv_bn(coarse, fine, relu=False)]
        )
        pyramid = ParallelPyramid if light else DeepPyramid
        self.pyramid = pyramid(2 * coarse, pooled, middle)
        self.fuse = LightFusion(middle) if light else Fusion(middle)

    def maps(self, x: Tensor) -> list[Tensor]:
        context = detail = boundary = self.run(self.stem, x)
        details, boundaries = [], []
        for index in range(2):
            context = F.relu(self.run(self.context[index], context))
            detail = self.run(self.detail[index], F.relu(detail))
            boundary = self.run(self.boundary[index], F.relu(boundary))
            detail = self.guide[index](detail, self.compress[index](context))
            change = self.difference[index](context)
            boundary = boundary + resize(change, boundary.shape[-2:])
            details.append(detail)
            boundaries.append(boundary)
        context = self.run(self.pyramid, self.run(self.context[2], context))
        detail = self.run(self.detail[2], F.relu(detail))
        boundary = self.run(self.boundary[2], F.relu(boundary))
        fused = self.fuse(detail, resize(context, detail.shape[-2:]), boundary)
        maps = (details[0], boundaries[1], fused)
        return [self.adapt(y, index) for index, y in enumerate(maps)]

    def trunk(self) -> list[list[nn.Module]]:
        branches = (self.context, self.detail, self.boundary)
        exchanges = (self.compress, self.guide, self.difference)
        stages = [[part[index] for part in (*branches, *exchanges)] for index in range(2)]
        last = [*(branch[2] for branch in branches), self.pyramid, self.fuse]
        return [[*self.stem], *stages, last]
