"""Assignment of queries to the classes of an image: one to one, at the lowest total cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dgss_core.labels import IGNORE
from dgss_core.networks.losses.points import sample_shared_points


@dataclass(frozen=True)
class Target:
    """Ground truth of one image: `classes` (M,) long and `masks` (M,H,W) float, 0 or 1."""

    classes: Tensor
    masks: Tensor

    def to(self, device: torch.device | str) -> Target:
        return Target(self.classes.to(device), self.masks.to(device))


def targets_of(labels: Tensor) -> list[Target]:
    """One target per image of labels (B,H,W): the classes present, ascending, without 255."""
    targets = []
    for image in labels:
        classes = image.unique()
        classes = classes[classes != IGNORE]
        targets.append(Target(classes, (image == classes[:, None, None]).float()))
    return targets


def pairwise_cost(logits: Tensor, truth: Tensor, weights: tuple[float, float]) -> Tensor:
    """(N,M): weighted cross-entropy plus dice of mask logits (N,P) against truth (M,P)."""
    points = logits.shape[1]
    # softplus(-x) is softplus(x) - x.
    cross_entropy = F.softplus(logits).sum(1)[:, None] - logits @ truth.T
    inside = logits.sigmoid()
    overlap = 2 * inside @ truth.T
    dice = 1 - (overlap + 1) / (inside.sum(1)[:, None] + truth.sum(1) + 1)
    return weights[0] * cross_entropy / points + weights[1] * dice


@torch.no_grad()
def match(
    classes: Tensor,
    masks: Tensor,
    target: Target,
    points: int,
    weights: tuple[float, float, float],
) -> tuple[Tensor, Tensor]:
    """Matched queries and their entries in `target`, sorted by query.

    Draws `points` random places once from torch's default generator.

    Args:
        classes: (N,C+1) logits of one image.
        masks: (N,h,w) logits of one image.
        weights: of the class, cross-entropy and dice costs.
    """
    # Imported here, because it takes a second that other losses need not wait for.
    from scipy.optimize import linear_sum_assignment

    places = torch.rand(1, points, 2, device=masks.device)[0]
    logits = sample_shared_points(masks.float(), places)
    truth = sample_shared_points(target.masks, places)
    cost = -weights[0] * classes.float().softmax(-1)[:, target.classes]
    cost = cost + pairwise_cost(logits, truth, weights[1:])
    query, entry = linear_sum_assignment(cost.cpu().numpy())
    device = classes.device
    return torch.as_tensor(query, device=device), torch.as_tensor(entry, device=device)
