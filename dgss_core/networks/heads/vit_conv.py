"""Light convolutional head for plain ViTs, whose maps all have the same stride."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.heads.head import PixelHead, refuse_stride


def up_by_4(width: int) -> nn.Sequential:
    """(B,width,h,w) to (B,width/4,4h,4w) by two transposed convolutions."""
    half, quarter = width // 2, width // 4
    return nn.Sequential(
        nn.ConvTranspose2d(width, half, 2, stride=2),
        nn.BatchNorm2d(half),
        nn.GELU(),
        nn.ConvTranspose2d(half, quarter, 2, stride=2),
        nn.GELU(),
    )


class VitConvHead(PixelHead):
    """Concatenate the taps, fuse them by 1x1, double the size twice, classify.

    The head of VFMSeg (AAAI 2025), where it beat Mask2Former on a low-rank adapted DINOv2. It has
    6.8 M parameters behind four taps of 1024 channels. Scores have a quarter of the maps' stride.

    Args:
        width: channels after the fusion; each of the two upsampling steps halves them.
        groups: of the group norm after the fusion.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        width: int = 1024,
        groups: int = 32,
        dropout: float = 0.1,
        stride: int | None = None,
    ) -> None:
        if len(set(strides)) != 1 or strides[0] % 4:
            raise DgssError(
                f'the ViT conv head needs maps of one stride that 4 divides, not strides '
                f'{tuple(strides)}; use the light conv head for a pyramid.'
            )
        possible = (strides[0] // 4,)
        super().__init__(channels, strides, num_classes, possible[0])
        refuse_stride('the ViT conv head', self.stride if stride is None else stride, possible)
        self.fuse = nn.Sequential(
            nn.Conv2d(sum(self.channels), width, 1), nn.GroupNorm(groups, width), nn.ReLU()
        )
        self.up = up_by_4(width)
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(width // 4, num_classes, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.classify(self.up(self.fuse(torch.cat(features, dim=1))))
