"""Hue, saturation and value of batches of images (Smith, SIGGRAPH 1978)."""

from __future__ import annotations

import torch
from torch import Tensor


def hues(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue 0 to 6, saturation 0 to 1 and value, each float32 (B, H, W), of RGB (B, 3, H, W)."""
    red, green, blue = images.unbind(1)
    low, value = torch.aminmax(images, dim=1)
    spread = value - low
    divisor = spread.clamp(min=torch.finfo(images.dtype).tiny)
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    return hue.remainder_(6), spread / value.clamp(min=torch.finfo(images.dtype).tiny), value


def from_hues(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """RGB (B, 3, H, W) of hue 0 to 6, saturation 0 to 1 and value, each float32 (B, H, W)."""
    offsets = torch.arange(5, 0, -2, device=hue.device, dtype=hue.dtype).view(1, 3, 1, 1)
    place = (hue.unsqueeze(1) + offsets).remainder_(6)
    away = torch.minimum(place, 4 - place).clamp_(0, 1)
    return value.unsqueeze(1) - away * (value * saturation).unsqueeze(1)
