"""The set criterion of Mask2Former (Cheng et al., CVPR 2022, section 3.3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.networks.losses.counts import Counts
from dgss_core.networks.losses.matching import Target, match, targets_of
from dgss_core.networks.losses.points import sample_points, unsure_points


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """(N,) dice loss of logits and truth (N,P); the denominator is not squared."""
    inside = logits.sigmoid()
    return 1 - (2 * (inside * truth).sum(1) + 1) / (inside.sum(1) + truth.sum(1) + 1)


class SetCriterion(nn.Module):
    """Class, mask and dice loss of every prediction; each is matched to the image's classes.

    The two published implementations differ only in the order of their random draws: mmdetection
    (Rein, VLTSeg) takes the predictions in order, detectron2 (CLOUDS) takes the last one first,
    which is `last_first=True`.

    Args:
        weights: of the class, mask cross-entropy and dice losses.
        costs: the same three weights for the matching.
        no_object: weight of the class "no object" in the class loss.
        points: number sampled per mask, once for the matching and once for the loss.
        oversample, unsure: see `unsure_points`.
    """

    def __init__(
        self,
        weights: tuple[float, float, float] = (2.0, 5.0, 5.0),
        costs: tuple[float, float, float] = (2.0, 5.0, 5.0),
        no_object: float = 0.1,
        points: int = 12544,
        oversample: float = 3.0,
        unsure: float = 0.75,
        last_first: bool = False,
    ) -> None:
        super().__init__()
        self.weights, self.costs = weights, costs
        self.no_object = no_object
        self.points, self.oversample, self.unsure = points, oversample, unsure
        self.last_first = last_first

    def forward(
        self,
        predictions: Sequence[tuple[Tensor, Tensor]],
        labels: Tensor,
        counts: Counts | None = None,
    ) -> dict[str, Tensor]:
        """Losses `class_i`, `mask_i`, `dice_i` of predictions i = 0, 1, ..., to be summed.

        Args:
            predictions: pairs of class logits (B,N,C+1) and mask logits (B,N,h,w).
            labels: (B,H,W) long, 255 is ignored.
            counts: as in `segmentation_loss`.
        """
        return self.on_targets(predictions, targets_of(labels), counts)

    def on_targets(
        self,
        predictions: Sequence[tuple[Tensor, Tensor]],
        targets: list[Target],
        counts: Counts | None = None,
    ) -> dict[str, Tensor]:
        """As `forward`, for one target per image; masks may overlap or leave pixels uncovered."""
        order = list(range(len(predictions)))
        if self.last_first:
            order = order[-1:] + order[:-1]
        losses = {}
        for index in order:
            values = self.losses_of(*predictions[index], targets, counts)
            for name, value, weight in zip(
                ('class', 'mask', 'dice'), values, self.weights, strict=True
            ):
                losses[f'{name}_{index}'] = weight * value
        return losses

    def matches(
        self, classes: Tensor, masks: Tensor, targets: list[Target]
    ) -> list[tuple[Tensor, Tensor]]:
        """Per image the matched queries and their entries in its target, see `match`."""
        return [
            match(*image, self.points, self.costs)
            for image in zip(classes, masks, targets, strict=True)
        ]

    def losses_of(
        self,
        classes: Tensor,
        masks: Tensor,
        targets: list[Target],
        counts: Counts | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Class, mask and dice loss of one prediction, unweighted."""
        matches = self.matches(classes, masks, targets)
        class_loss = self.class_loss(classes, targets, matches, counts)
        chosen = torch.cat([m[query] for m, (query, _) in zip(masks, matches, strict=True)])
        truth = torch.cat([t.masks[entry] for t, (_, entry) in zip(targets, matches, strict=True)])
        return class_loss, *self.mask_losses(chosen.float(), truth, counts)

    def class_loss(
        self,
        classes: Tensor,
        targets: list[Target],
        matches: list[tuple[Tensor, Tensor]],
        counts: Counts | None = None,
    ) -> Tensor:
        """Cross-entropy of all queries, divided by the sum of their class weights."""
        no_object = classes.shape[-1] - 1
        wanted = torch.full(classes.shape[:2], no_object, device=classes.device)
        for row, target, (query, entry) in zip(wanted, targets, matches, strict=True):
            row[query] = target.classes[entry]
        weight = torch.ones(no_object + 1, device=classes.device)
        weight[no_object] = self.no_object
        logits = classes.float().transpose(1, 2)
        if counts is None:
            return F.cross_entropy(logits, wanted, weight)
        empty = (counts.images * classes.shape[1] - counts.masks).clamp(min=0)
        total = F.cross_entropy(logits, wanted, weight, reduction='sum')
        return total / (counts.masks + self.no_object * empty)

    def mask_losses(
        self, masks: Tensor, truth: Tensor, counts: Counts | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy and dice of matched mask logits (K,h,w) against truth (K,H,W)."""
        count = max(len(masks), 1) if counts is None else counts.masks
        if not len(masks):
            return masks.sum(), masks.sum()
        points = unsure_points(masks, self.points, self.oversample, self.unsure)
        logits = sample_points(masks, points)
        truth = sample_points(truth, points)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction='none')
        return cross_entropy.mean(1).sum() / count, dice_loss(logits, truth).sum() / count
