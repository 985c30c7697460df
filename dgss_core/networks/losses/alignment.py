"""Alignment of queries with the classes whose regions their masks fit, relative to their group.

The idea is that of QPrompt-R1 (ICLR 2026): of the queries of an image, those that fit a class
better than the others are rewarded, against class prototypes averaged over the training. Its
formulas were not at hand; these are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dgss_core.networks.losses.counts import Counts, share
from dgss_core.networks.losses.precision import in_float32

DECAY = 0.99
"""Share of a prototype that an update keeps."""


@torch.no_grad()
def class_planes(labels: Tensor, num_classes: int) -> Tensor:
    """(B,C,H,W), 1 where labels (B,H,W) are the class, else 0; 255 is none."""
    ids = labels.clamp(max=num_classes).unsqueeze(1)
    planes = ids.new_zeros((len(ids), num_classes + 1, *ids.shape[-2:]), dtype=torch.float32)
    planes.scatter_(1, ids, 1.0)
    return planes[:, :num_classes]


def class_shares(planes: Tensor, size: Sequence[int]) -> Tensor:
    """(B,C,*size) in [0,1]: the share of each class of `class_planes` in each cell."""
    return F.adaptive_avg_pool2d(planes, (size[0], size[1]))


@torch.no_grad()
def update_prototypes(prototypes: Tensor, patches: Tensor, shares: Tensor) -> None:
    """Move the prototypes (C,D) of the classes in `shares` (B,C,h,w) to their mean patches.

    `patches` are (B,D,h,w). A prototype has length 1, and is zero until its class is first seen.
    """
    with in_float32(patches):
        sums = torch.einsum('bdhw,bchw->cd', patches.float(), shares)
    seen, known = shares.sum((0, 2, 3)) > 0, prototypes.any(1)
    kept = torch.where(known, DECAY, 0.0).unsqueeze(1)
    moved = kept * prototypes + (1 - kept) * F.normalize(sums, dim=1)
    prototypes.copy_(torch.where(seen.unsqueeze(1), F.normalize(moved, dim=1), prototypes))


def alignment_loss(
    queries: Tensor,
    masks: Tensor,
    shares: Tensor,
    prototypes: Tensor,
    counts: Counts | None = None,
) -> Tensor:
    """Minus the mean over queries of advantage times cosine to the prototype, per class present.

    The reward of a query for a class is the soft IoU of its mask with the class's region. Its
    advantage is the reward minus the group's mean, over the group's standard deviation; the group
    is all queries of the image. Queries above the mean move towards the prototype of the class,
    those below away from it. Only the queries get a gradient.

    Args:
        queries: (B,N,D).
        masks: (B,N,h,w) logits.
        shares: (B,C,h,w) of `class_shares`.
        prototypes: (C,D), as in `update_prototypes`.
        counts: as in `segmentation_loss`; the mean is over the classes of all images.
    """
    advantage = advantages(masks.detach(), shares)
    with in_float32(queries):
        closeness = F.normalize(queries.float(), dim=2) @ prototypes.T
    present = (shares.sum((2, 3)) > 0).float()
    total = -((advantage * closeness).mean(1) * present).sum()
    return share(total, present.sum() if counts is None else counts.masks)


@torch.no_grad()
def advantages(masks: Tensor, shares: Tensor) -> Tensor:
    """(B,N,C): how far the soft IoU of mask logits (B,N,h,w) with a class is above the group's.

    Cells count by their labelled share.
    """
    inside = masks.float().sigmoid()
    with in_float32(masks):
        overlap = torch.einsum('bnhw,bchw->bnc', inside, shares)
        covered = torch.einsum('bnhw,bhw->bn', inside, shares.sum(1))
    union = covered.unsqueeze(2) + shares.sum((2, 3)).unsqueeze(1) - overlap
    reward = overlap / union.clamp(min=1e-6)
    spread, mean = torch.std_mean(reward, dim=1, keepdim=True, correction=0)
    return (reward - mean) / spread.clamp(min=1e-6)
