"""The resizes used for all maps."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def resize(x: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Bilinear resize of (B,C,h,w) to (B,C,*size), size = (height, width).

    With `align_corners` the outermost cells are the outermost pixels, as PIDNet resizes scores.
    """
    return F.interpolate(x, size=tuple(size), mode='bilinear', align_corners=align_corners)


def resize_part(x: Tensor, size: Sequence[int], part: Sequence[float]) -> Tensor:
    """Resize the upper left `part` (height, width), as shares of x, to (B,C,*size).

    Above 1 the edges of x are continued. The whole of x is `resize`.
    """
    if tuple(part) == (1, 1):
        return resize(x, size)
    down, across = part
    grid = F.affine_grid(
        x.new_tensor([[across, 0, across - 1], [0, down, down - 1]]).expand(len(x), 2, 3),
        [len(x), 1, *size],
        align_corners=False,
    )
    return F.grid_sample(x, grid, padding_mode='border', align_corners=False)
