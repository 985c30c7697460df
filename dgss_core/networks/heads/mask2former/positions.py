"""Fixed sine positions of a feature map."""

import math

import torch
from torch import Tensor


def sine_positions(size: tuple[int, int], channels: int, like: Tensor) -> Tensor:
    """(channels,*size): the first half encodes y, the second x (DETR, Carion et al. 2020).

    `size` is (height, width). Coordinates count from 1 and are normalised to 2*pi; wavelengths
    grow up to 1e4. In each half, even channels are sines and odd channels cosines. Dtype and
    device are those of `like`.
    """
    height, width = size
    half = channels // 2
    device = like.device
    index = torch.arange(half, device=device)
    wavelength = 10000.0 ** (2 * (index // 2) / half)

    def axis(length: int) -> Tensor:
        place = torch.arange(1, length + 1, device=device, dtype=torch.float32)
        angle = (place / (length + 1e-6) * (2 * math.pi))[:, None] / wavelength
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

    y = axis(height).T[:, :, None].expand(-1, -1, width)
    x = axis(width).T[:, None, :].expand(-1, height, -1)
    return torch.cat((y, x)).to(like.dtype)
