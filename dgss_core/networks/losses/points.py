"""Points at which masks are compared, instead of all pixels (PointRend, Kirillov et al. 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values (N,P) of maps (N,h,w) at points (N,P,2), x and y in [0,1]."""
    grid = (2 * points - 1).unsqueeze(1)
    return F.grid_sample(maps.unsqueeze(1), grid, align_corners=False)[:, 0, 0]


def sample_shared_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values (N,P) of maps (N,h,w), all at the same points (P,2)."""
    grid = (2 * points - 1)[None, None]
    return F.grid_sample(maps.unsqueeze(0), grid, align_corners=False)[0, :, 0]


@torch.no_grad()
def unsure_points(logits: Tensor, count: int, oversample: float, share: float) -> Tensor:
    """(N,count,2) random points for logits (N,h,w), mostly where |logit| is small.

    First the `share` x count least certain of oversample x count uniform points, then uniform
    points, in no order. Draws twice from torch's default generator, in this order.
    """
    masks = len(logits)
    candidates = torch.rand(masks, int(count * oversample), 2, device=logits.device)
    doubt = -sample_points(logits, candidates).abs()
    unsure = int(share * count)
    chosen = doubt.topk(unsure, dim=1, sorted=False).indices
    chosen = candidates.gather(1, chosen.unsqueeze(2).expand(-1, -1, 2))
    uniform = torch.rand(masks, count - unsure, 2, device=logits.device)
    return torch.cat((chosen, uniform), dim=1)
