"""MobileNetV2 (Sandler et al., CVPR 2018, table 2), the encoder of the embedded bundle."""

from __future__ import annotations

import re
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from dgss_core.errors import DgssError

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
"""Block whose output is given out -> its stride and channels."""


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1; added to its input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            *_conv_bn(inputs, middle),
            nn.ReLU6(),
            *_conv_bn(middle, middle, 3, stride, groups=middle),
            nn.ReLU6(),
            *_conv_bn(middle, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileNetV2(nn.Module):
    """Width 1.0. (B,3,H,W) normalised RGB, any H and W, to four maps at strides 4, 8, 16, 32."""

    strides, channels = (tuple(column) for column in zip(*TAPS.values(), strict=True))
    size_multiple = 1
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv_bn(3, 32, 3, 2), nn.ReLU6())
        self.blocks, inputs = nn.ModuleList(), 32
        for expansion, outputs, count, stride in STAGES:
            for index in range(count):
                block = InvertedResidual(inputs, outputs, expansion, stride if index == 0 else 1)
                self.blocks.append(block)
                inputs = outputs
        if weights is not None:
            self.load_imagenet(Path(weights))

    def forward(self, x: Tensor) -> list[Tensor]:
        x, maps = self.stem(x), []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                maps.append(x)
        return maps

    def load_imagenet(self, path: Path) -> None:
        """Load a safetensors file with the keys `stem.*`, `b.<block>.*`.

        `head.*`, the 1280-channel layer in front of the ImageNet classifier, has no place here.
        Raises DgssError when a key is missing, unknown or of another shape.
        """
        if not path.is_file():
            raise DgssError(
                f'There is no weight file {path}; give the path of a safetensors file.'
            )
        state = {
            re.sub(r'^b\.(\d+)\.', r'blocks.\1.layers.', key): tensor.float()
            for key, tensor in load_file(path).items()
            if not key.startswith('head.')
        }
        ours = {k: v for k, v in self.state_dict().items() if 'num_batches_tracked' not in k}
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in ours.items()}:
            missing = sorted(set(ours) - set(state))[:3]
            unknown = sorted(set(state) - set(ours))[:3]
            raise DgssError(
                f'{path} does not hold a MobileNetV2 of width 1.0 (missing {missing}, unknown '
                f'{unknown}, or other shapes); give a file for this encoder.'
            )
        self.load_state_dict(state, strict=False)


def _conv_bn(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(outputs)
