"""MobileNetV2 (Sandler et al., CVPR 2018, table 2), the encoder of the embedded bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from dgss_core.networks.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder

STAGES = (
    # expansion, channels, blocks, stride of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
TAPS = {2: (4, 24), 5: (8, 32), 12: (16, 96), 16: (32, 320)}
"""Block whose output becomes a map -> stride and channels of that map."""

NO_EXPANSION = {'first_expansion': False}
"""Options of a MobileNetV2 without an expansion in block 0."""


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 without activation.

    The input is added if the shapes match. An `expansion` of None leaves out the first layer.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int | None, stride: int) -> None:
        super().__init__()
        middle = inputs * (expansion or 1)
        self.residual = stride == 1 and inputs == outputs
        expand = () if expansion is None else (*_conv_bn(inputs, middle), nn.ReLU6())
        self.layers = nn.Sequential(
            *expand,
            *_conv_bn(middle, middle, 3, stride, groups=middle),
            nn.ReLU6(),
            *_conv_bn(middle, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileNetV2(Encoder):
    """Width 1.0. Four maps at strides 4, 8, 16, 32; accepts any height and width from 1 pixel.

    `first_expansion`: block 0 has an expansion too, of factor 1, as in ONNX exports; False leaves
    it out, as torchvision and timm do.
    """

    def __init__(self, first_expansion: bool = True) -> None:
        strides, channels = zip(*TAPS.values(), strict=True)
        super().__init__(channels, strides, 1, IMAGENET_MEAN, IMAGENET_STD)
        self.stem = nn.Sequential(*_conv_bn(3, 32, 3, 2), nn.ReLU6())
        self.blocks, inputs = nn.ModuleList(), 32
        self.form = {} if first_expansion else NO_EXPANSION
        for expansion, outputs, count, stride in STAGES:
            for index in range(count):
                first = not self.blocks and not first_expansion
                block = InvertedResidual(
                    inputs, outputs, None if first else expansion, stride if index == 0 else 1
                )
                self.blocks.append(block)
                inputs = outputs

    def maps(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        x = self.stem(x)
        for index, block in enumerate(self.blocks):
            x = self.run(block, x)
            if index in TAPS:
                x = self.adapt(x, len(maps))
                maps.append(x)
        return maps

    def trunk(self) -> list[list[nn.Module]]:
        ends = [tap + 1 for tap in TAPS]
        stages = [list(self.blocks[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
        return [[self.stem, *stages[0]], *stages[1:]]

    def sharded_blocks(self) -> list[nn.Module]:
        return list(self.blocks)


def form_of(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The options of the MobileNetV2 that these weights, in its names, belong to."""
    # With an expansion, block 0 has three convolutions.
    return {} if 'blocks.0.layers.6.weight' in weights else dict(NO_EXPANSION)


def _conv_bn(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(outputs)
