"""Per-pixel cross-entropy on scores of any stride."""

import torch.nn.functional as F
from torch import Tensor

IGNORE = 255


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (B,C,h,w) to (B,C,*size), pixel centres aligned."""
    return F.interpolate(x, size=tuple(size), mode='bilinear', align_corners=False)


def segmentation_loss(
    scores: Tensor, labels: Tensor, ignore: int = IGNORE, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy of logits (B,C,h,w), resized to the labels (B,H,W) long.

    Zero, not NaN, when every pixel is `ignore`.
    """
    scores = resize(scores, labels.shape[-2:])
    total = F.cross_entropy(
        scores, labels, ignore_index=ignore, label_smoothing=label_smoothing, reduction='sum'
    )
    return total / (labels != ignore).sum().clamp(min=1)
