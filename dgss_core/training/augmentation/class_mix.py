"""ClassMix (Olsson et al., WACV 2021): objects of one image pasted into another."""

from __future__ import annotations

import torch
from torch import Tensor

from dgss_core.labels import IGNORE


def class_mix(
    images: Tensor,
    labels: Tensor,
    onto_images: Tensor,
    onto_labels: Tensor,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Paste half of the classes of every image, rounded up, onto its partner.

    Images (B,C,H,W) and labels (B,H,W), 255 for unlabelled. Returns the mixed images and labels
    in the same shapes. Unlabelled pixels are never pasted. `generator` must be a CPU generator.
    """
    pasted = torch.stack([_half_of_classes(one, generator) for one in labels])
    return (
        torch.where(pasted[:, None], images, onto_images),
        torch.where(pasted, labels, onto_labels),
    )


def _half_of_classes(labels: Tensor, generator: torch.Generator | None) -> Tensor:
    """(H,W) bool: pixels of a random half of the classes in `labels`."""
    present = labels.unique()
    present = present[present != IGNORE]
    order = torch.randperm(len(present), generator=generator)[: (len(present) + 1) // 2]
    return torch.isin(labels, present[order.to(present.device)])
