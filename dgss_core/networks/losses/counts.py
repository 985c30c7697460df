"""What a loss is divided by, so that it does not depend on how a batch is cut into passes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dgss_core.labels import IGNORE


class Counts(NamedTuple):
    """Counts of one pass, or their mean over all passes of an optimiser step; float tensors ().

    Attributes:
        pixels: labelled pixels
        images: images
        masks: classes present, summed over the images; a mask head learns one mask for each
        inside: pixels inside their frame, labelled or not
    """

    pixels: Tensor
    images: Tensor
    masks: Tensor
    inside: Tensor

    @classmethod
    def of(cls, labels: Tensor, inside: Tensor | None = None) -> Counts:
        """Counts of labels (B,H,W) long, where 255 is unlabelled, and of inside (B,h,w) bool."""
        labelled = labels != IGNORE
        present = labels.new_zeros(len(labels), 256, dtype=torch.float32)
        present.scatter_(1, labels.flatten(1), 1.0)
        images = present.new_full((), len(labels))
        frame = torch.ones_like(labelled) if inside is None else inside
        return cls(labelled.sum().float(), images, present[:, :IGNORE].sum(), frame.sum().float())

    def mean(self, passes: int) -> Counts:
        """The mean over `passes` of counts that were summed over them."""
        return Counts(*(count / passes for count in self))


def share(total: Tensor, count: Tensor) -> Tensor:
    """`total` / `count`; 0, not NaN, where there is nothing to count."""
    return total / count.clamp(min=1e-6)
