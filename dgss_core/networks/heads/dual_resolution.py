"""The heads of DDRNet (Hong et al., 2021) and PIDNet (Xu et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.labels import IGNORE
from dgss_core.networks.heads.head import PixelHead
from dgss_core.networks.layers import bn_relu_conv
from dgss_core.networks.losses.counts import Counts, share
from dgss_core.networks.resize import resize

SIDE_WEIGHT, BOUNDARY_WEIGHT = 0.4, 20.0
"""Of the losses at the first and the second map; both papers have the first."""
SURE_BOUNDARY = 0.8
"""Probability above which a pixel counts again in the loss of PIDNet."""


class DualResolutionHead(PixelHead):
    """Norm, 3x3, norm and 1x1 on the last map, which the encoder has fused.

    `auxiliary`: in training a second head of this form learns from the first map, with a weight of
    0.4. It is not used for the scores.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        width: int = 128,
        auxiliary: bool = False,
    ) -> None:
        super().__init__(channels, strides, num_classes, strides[-1])
        self.decode = decoder(channels[-1], width)
        self.classify = nn.Conv2d(width, num_classes, 1)
        self.auxiliary = auxiliary
        self.side = side_head(channels[0], width, num_classes) if auxiliary else None

    @property
    def classifiers(self) -> tuple[str, ...]:
        return (self.classifier, 'side.1') if self.auxiliary else (self.classifier,)

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.classify(self.decode(features[-1]))

    def extra_losses(
        self, scores: Tensor, features: list[Tensor], labels: Tensor, counts: Counts | None
    ) -> dict[str, Tensor]:
        if self.side is None:
            return {}
        side = self.score_loss(self.side(features[0]), labels, counts)
        return {'side': SIDE_WEIGHT * side}


class PIDHead(DualResolutionHead):
    """The head of PIDNet, whose scores are resized with aligned corners.

    `auxiliary`: in training the second map also learns where the boundaries of the labels are, and
    the pixels that it is sure about count twice (paper, section 3.4), each time as a mean over the
    pass. Unlike in the published training, hard pixels are not selected.
    """

    align_corners = True

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        width: int = 128,
        auxiliary: bool = False,
    ) -> None:
        super().__init__(channels, strides, num_classes, width, auxiliary)
        edge = channels[1]
        self.boundary = side_head(edge, max(1, edge // 2), 1) if auxiliary else None

    def extra_losses(
        self, scores: Tensor, features: list[Tensor], labels: Tensor, counts: Counts | None
    ) -> dict[str, Tensor]:
        losses = super().extra_losses(scores, features, labels, counts)
        if self.boundary is not None:
            edges = resize(self.boundary(features[1]), labels.shape[-2:], self.align_corners)
            losses['boundary'] = BOUNDARY_WEIGHT * boundary_loss(edges[:, 0], labels, counts)
            unsure = edges[:, 0].sigmoid() <= SURE_BOUNDARY
            at_edges = labels.masked_fill(unsure, IGNORE)
            losses['ce_at_boundary'] = self.score_loss(scores, at_edges)
        return losses


def decoder(inputs: int, width: int) -> nn.Sequential:
    """Norm, ReLU, 3x3, norm, ReLU."""
    return nn.Sequential(bn_relu_conv(inputs, width, 3), nn.BatchNorm2d(width), nn.ReLU())


def side_head(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(decoder(inputs, width), nn.Conv2d(width, outputs, 1))


def boundaries(labels: Tensor, reach: int = 2) -> Tensor:
    """Pixels of labels (B,H,W) from which another label is at most `reach` pixels away, bool."""
    window = (2 * reach + 1, 1, reach)
    ids = labels[:, None].float()
    return (F.max_pool2d(ids, *window) != -F.max_pool2d(-ids, *window))[:, 0]


def boundary_loss(edges: Tensor, labels: Tensor, counts: Counts | None = None) -> Tensor:
    """Binary cross-entropy of logits (B,H,W) of being a boundary of labels (B,H,W).

    In each image boundaries weigh as much as all other labelled pixels. `counts` is as in
    `segmentation_loss`.
    """
    labelled = labels != IGNORE
    true = boundaries(labels) & labelled
    pixels = labelled.sum(dim=(1, 2), keepdim=True).clamp(min=1)
    positive = true.sum(dim=(1, 2), keepdim=True) / pixels
    weight = torch.where(true, 1 - positive, positive) * labelled
    total = F.binary_cross_entropy_with_logits(edges, true.to(edges), weight, reduction='sum')
    return share(total, labelled.sum() if counts is None else counts.pixels)
