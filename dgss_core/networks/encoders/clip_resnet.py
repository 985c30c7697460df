"""CLIP's ModifiedResNet (Radford et al. 2021, section 2.4) at a chosen output stride (FAMix)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.encoders.encoder import CLIP_MEAN, CLIP_STD, Encoder
from dgss_core.networks.encoders.positions import resample_table

STRIDES = {32: (2, 2, 2), 16: (2, 2, 1), 8: (2, 1, 1)}
"""Output stride -> strides of layer2, layer3, layer4."""


class Bottleneck(nn.Module):
    """1x1, 3x3, average pool for the stride, 1x1; the shortcut also pools before its 1x1."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential()
            self.downsample.add_module('-1', nn.AvgPool2d(stride))
            self.downsample.add_module('0', nn.Conv2d(inputs, outputs, 1, bias=False))
            self.downsample.add_module('1', nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self.avgpool(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class AttentionPool(nn.Module):
    """(B,C,h,w) to CLIP's image embedding (B,E): the mean token attends to all tokens.

    `grid` is the side of the map in CLIP's pre-training. The position table is resampled for maps
    of other sizes.
    """

    def __init__(self, width: int, heads: int, outputs: int, grid: int) -> None:
        super().__init__()
        self.heads, self.grid = heads, grid
        self.positional_embedding = nn.Parameter(torch.randn(grid**2 + 1, width) / width**0.5)
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.c_proj = nn.Linear(width, width), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[-2], x.shape[-1])
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat((x.mean(dim=1, keepdim=True), x), dim=1)
        x = x + resample_table(self.positional_embedding[None], (self.grid, self.grid), size)
        q, k, v = (
            project(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project, tokens in ((self.q_proj, x[:, :1]), (self.k_proj, x), (self.v_proj, x))
        )
        pooled = F.scaled_dot_product_attention(q, k, v)
        return self.c_proj(pooled.transpose(1, 2).flatten(1))


class ClipResNet(Encoder):
    """Maps of layer1 to layer4, with the names of OpenAI's weights.

    At an output stride of 16 or 8 the last stages keep their resolution and use dilation, exactly
    as published: the first block of a stage has dilation 1, the middle blocks have that of the
    previous stage, and only the last block has that of its own stage.

    `embedding` (width of CLIP's image embedding) adds the attention pool, which style mining
    uses. Its position table is for square images of `image_size` pixels.
    """

    ends_in_relu = True

    def __init__(
        self,
        layers: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        output_stride: int = 32,
        embedding: int | None = None,
        heads: int = 32,
        image_size: int = 224,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
        pad: bool = True,
    ) -> None:
        if output_stride not in STRIDES:
            raise DgssError(
                f'A CLIP ResNet has no output stride {output_stride}; choose 32, 16 or 8.'
            )
        strides = STRIDES[output_stride]
        super().__init__(
            channels=[width * 4 * 2**stage for stage in range(4)],
            cells=[4, 4 * strides[0], 4 * strides[0] * strides[1], output_stride],
            size_multiple=output_stride,
            mean=mean,
            std=std,
            pad=pad,
        )
        self.conv1 = nn.Conv2d(3, width // 2, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        stages, inputs, dilation = [], width, 1
        for stage, (count, stride) in enumerate(zip(layers, (1, *strides), strict=True)):
            previous, dilation = dilation, dilation * (2 if stage and stride == 1 else 1)
            planes = width * 2**stage
            blocks = _stage(inputs, planes, count, stride, previous, dilation)
            stages.append(nn.Sequential(*blocks))
            inputs = planes * Bottleneck.expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.attnpool = None
        if embedding is not None:
            self.attnpool = AttentionPool(inputs, heads, embedding, image_size // 32)

    def stem(self, x: Tensor) -> Tensor:
        """Images (B,3,H,W) to (B,width,H/4,W/4)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        return F.avg_pool2d(x, 2)

    def low(self, x: Tensor) -> Tensor:
        """Images to the map of layer1, in which FAMix mixes styles."""
        return self.adapt(self._stage(self.layer1, self.stem(x)), 0)

    def high(self, low: Tensor) -> list[Tensor]:
        """Map of layer1 to the maps of layer2, layer3 and layer4."""
        maps, x = [], low
        for index, stage in enumerate((self.layer2, self.layer3, self.layer4), start=1):
            x = self.adapt(self._stage(stage, x), index)
            maps.append(x)
        return maps

    def maps(self, x: Tensor) -> list[Tensor]:
        low = self.low(x)
        return [low, *self.high(low)]

    def embed(self, x: Tensor) -> Tensor:
        """Map of layer4 to CLIP's image embedding (B,E), not normalised."""
        if self.attnpool is None:
            raise ValueError('built without an attention pool: give `embedding`')
        return self.attnpool(x)

    def trunk(self) -> list[list[nn.Module]]:
        stem = [self.conv1, self.bn1, self.conv2, self.bn2, self.conv3, self.bn3]
        pool = [] if self.attnpool is None else [self.attnpool]
        # The pool comes first so that the last module of the trunk is a block.
        return [[*pool, *stem, *self.layer1], [*self.layer2], [*self.layer3], [*self.layer4]]

    def _stage(self, stage: nn.Sequential, x: Tensor) -> Tensor:
        for block in stage:
            x = self.run(block, x)
        return x


def _stage(
    inputs: int, width: int, count: int, stride: int, previous: int, dilation: int
) -> list[Bottleneck]:
    dilations = [1, *[previous] * (count - 2), dilation][:count]
    return [
        Bottleneck(
            inputs if index == 0 else width * Bottleneck.expansion,
            width,
            stride if index == 0 else 1,
            value,
        )
        for index, value in enumerate(dilations)
    ]
