"""Feature statistics that carry style (FAMix: Fahes et al., CVPR 2024)."""

from __future__ import annotations

from torch import Tensor


def channel_statistics(x: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (unbiased, of variance + eps) of each channel of each map.

    (B,C,H,W) to two (B,C,1,1).
    """
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = x.var(dim=(2, 3), keepdim=True)
    return mean, (variance + eps).sqrt()
