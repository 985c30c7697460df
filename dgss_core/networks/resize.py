"""The resize used for all maps."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear resize of (B,C,h,w) to (B,C,*size), size = (height, width), align_corners=False."""
    return F.interpolate(x, size=tuple(size), mode='bilinear', align_corners=False)
