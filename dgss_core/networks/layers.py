"""Convolution, batch norm and ReLU in the orders that encoders and heads share.

Layers have the names `conv`, `bn` and `relu`, whatever their order, or numbers.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


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
