"""Light convolutional head for real-time encoders (MobileNetV2, ResNet)."""

from collections.abc import Sequence

from torch import Tensor, nn

from dgss_core.networks.heads.head import PixelHead, refuse_stride
from dgss_core.networks.resize import resize


def conv_bn_relu6(
    inputs: int, outputs: int, kernel: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU6."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    layers = [conv, nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, nn.ReLU6()) if relu else nn.Sequential(*layers)


def separable(width: int) -> nn.Sequential:
    """Depthwise 3x3, then 1x1."""
    return nn.Sequential(conv_bn_relu6(width, width, 3, groups=width), conv_bn_relu6(width, width))


class LightConvHead(PixelHead):
    """1x1 projections, summed from coarse to fine, with a global gate at the coarsest map.

    A feature pyramid (Lin et al. 2017) with the pooled gate of LR-ASPP (MobileNetV3, Howard et
    al. 2019, section 6.4) and a depthwise-separable 3x3 after every sum. It uses only batch norms
    and ReLU6, which fold and quantise well. With `width=96` behind MobileNetV2 (24/32/96/320
    channels at strides 4/8/16/32) it costs about 0.3 GMAC at 640x360.

    `stride` must be the stride of one of the maps; finer maps are not used.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        width: int = 96,
        stride: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, strides, num_classes, stride)
        refuse_stride('the light conv head', stride, self.strides)
        self.first = self.strides.index(stride)
        used = self.channels[self.first :]
        self.project = nn.ModuleList(conv_bn_relu6(count, width, relu=False) for count in used)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(used[-1], width, 1), nn.Hardsigmoid()
        )
        self.smooth = nn.ModuleList(separable(width) for _ in used)
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(width, num_classes, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        maps = [
            project(x) for project, x in zip(self.project, features[self.first :], strict=True)
        ]
        x = self.smooth[-1](maps[-1] * self.gate(features[-1]))
        for finer, smooth in zip(maps[-2::-1], list(self.smooth)[-2::-1], strict=True):
            x = smooth(finer + resize(x, finer.shape[-2:]))
        return self.classify(x)
