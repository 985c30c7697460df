"""Per-pixel cross-entropy on scores of any stride."""

import torch.nn.functional as F
from torch import Tensor

from dgss_core.networks.resize import resize

IGNORE = 255


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
