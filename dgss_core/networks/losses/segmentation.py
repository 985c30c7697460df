"""Per-pixel cross-entropy on scores of any stride."""

import torch.nn.functional as F
from torch import Tensor

from dgss_core.labels import IGNORE
from dgss_core.networks.losses.counts import Counts, share
from dgss_core.networks.resize import resize


def segmentation_loss(
    scores: Tensor,
    labels: Tensor,
    ignore: int = IGNORE,
    label_smoothing: float = 0.0,
    counts: Counts | None = None,
    align_corners: bool = False,
) -> Tensor:
    """Mean cross-entropy of logits (B,C,h,w), resized to labels (B,H,W) long.

    The mean is over the labelled pixels, or with `counts` over those of the whole step: the mean
    of the losses of all passes is then the loss of the step. 0, not NaN, if every pixel is
    `ignore`. `align_corners` is as in `resize`.
    """
    scores = resize(scores, labels.shape[-2:], align_corners)
    total = F.cross_entropy(
        scores, labels, ignore_index=ignore, label_smoothing=label_smoothing, reduction='sum'
    )
    return share(total, (labels != ignore).sum() if counts is None else counts.pixels)
