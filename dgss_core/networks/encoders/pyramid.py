"""Maps at several scales from a plain ViT, whose blocks all work at one scale."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

SCALES = (4.0, 2.0, 1.0, 0.5)


class Pyramid(nn.Module):
    """Taps (B,C,h,w) of equal size to maps that are `scales` times as large."""

    scales: tuple[float, ...]


class BilinearPyramid(Pyramid):
    """Four taps resized bilinearly by 4, 2, 1 and 1/2 (Rein, section 2.3 of its code base)."""

    scales = SCALES

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        return [
            x if scale == 1 else F.interpolate(x, scale_factor=scale, mode='bilinear')
            for x, scale in zip(taps, self.scales, strict=True)
        ]


class LearnedPyramid(Pyramid):
    """Four taps resized by 4, 2, 1 and 1/2 with transposed convolutions (ViTDet, VLTSeg)."""

    scales = SCALES

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up4 = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, 2),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, 2),
        )
        self.up2 = nn.ConvTranspose2d(width, width, 2, 2)
        self.down2 = nn.MaxPool2d(2)

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse, coarsest = taps
        return [self.up4(fine), self.up2(middle), coarse, self.down2(coarsest)]


class OneScale(Pyramid):
    """Taps unchanged, at the stride of the patch."""

    def __init__(self, taps: int) -> None:
        super().__init__()
        self.scales = (1.0,) * taps

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        return taps
