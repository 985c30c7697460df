"""What the two-resolution networks (DDRNet, PIDNet) share: residual stages and the stem."""

from __future__ import annotations

from torch import Tensor, nn

from dgss_core.networks.layers import conv_bn


class BasicBlock(nn.Module):
    """3x3 and 3x3 beside a shortcut (He et al., CVPR 2016); the last ReLU can be left out."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.conv1 = conv_bn(inputs, width, 3, stride)
        self.conv2 = conv_bn(width, width, 3, relu=False)
        self.shortcut = _shortcut(inputs, width, stride)
        self.last = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.conv2(self.conv1(x)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 to twice the width beside a shortcut, without a ReLU at the end."""

    expansion = 2

    def __init__(self, inputs: int, width: int, stride: int = 1, relu: bool = False) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = conv_bn(inputs, width, 1)
        self.conv2 = conv_bn(width, width, 3, stride)
        self.conv3 = conv_bn(width, outputs, 1, relu=False)
        self.shortcut = _shortcut(inputs, outputs, stride)
        self.last = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.conv3(self.conv2(self.conv1(x))) + self.shortcut(x))


def stage(
    block: type[BasicBlock | Bottleneck], inputs: int, width: int, count: int, stride: int = 1
) -> nn.Sequential:
    """`count` blocks; of several, the last has no ReLU: what follows needs both signs."""
    blocks = [block(inputs, width, stride)]
    for index in range(1, count):
        blocks.append(block(width * block.expansion, width, relu=index < count - 1))
    return nn.Sequential(*blocks)


def stem(width: int, blocks: int) -> nn.Sequential:
    """Images to 2 * `width` channels at stride 8, at least 0."""
    return nn.Sequential(
        conv_bn(3, width, 3, 2),
        conv_bn(width, width, 3, 2),
        stage(BasicBlock, width, width, blocks),
        nn.ReLU(),
        stage(BasicBlock, width, width * 2, blocks, 2),
        nn.ReLU(),
    )


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return conv_bn(inputs, outputs, 1, stride, relu=False)
