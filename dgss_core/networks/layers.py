"""Layers that encoders and heads share: convolution, batch norm and ReLU in their orders.

These have the names `conv`, `bn` and `relu`, whatever their order, or numbers.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn


def conv_bn(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    relu: bool = True,
) -> nn.Sequential:
    """Convolution without bias, batch norm, and ReLU if asked for."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=_conv(inputs, outputs, kernel, stride, groups), bn=nn.BatchNorm2d(outputs)
    )
    return nn.Sequential(layers | OrderedDict(relu=nn.ReLU()) if relu else layers)


def bn_relu_conv(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    """Batch norm, ReLU, and a convolution without bias."""
    conv = _conv(inputs, outputs, kernel, groups=groups)
    return nn.Sequential(OrderedDict(bn=nn.BatchNorm2d(inputs), relu=nn.ReLU(), conv=conv))


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """As `conv_bn`, but the layers have numbers, as in checkpoints of DeepLabV3+ and SegFormer."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., ECCV 2016): in training a branch leaves out some images.

    Draws as timm's, whose import loads every network of timm and torchvision.

    Args:
        probability: of each image (first axis) to be left out, 0 to 1. The others are divided by
            1 - `probability`, so that the mean stays.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = 1 - self.probability
        factors = x.new_empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(kept)
        return x * (factors.div_(kept) if kept else factors)
