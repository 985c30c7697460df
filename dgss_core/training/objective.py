"""The losses that a training step minimises."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from dgss_core.networks.losses.counts import Counts
from dgss_core.networks.losses.merged import MergedLoss
from dgss_core.networks.systems import SegmentationModel
from dgss_core.networks.systems.model import image_size
from dgss_core.training.mixing import MixingConfig, mixed_styles
from dgss_core.training.styles import StyleBank


class Objective(nn.Module):
    """The losses of a model on labelled images.

    `merged` replaces the model's own loss if the sources have coarser label sets. `mixing` mixes
    styles from `bank`, or from the batch if `bank` is None.
    """

    def __init__(
        self,
        model: SegmentationModel,
        merged: MergedLoss | None = None,
        mixing: MixingConfig | None = None,
        bank: StyleBank | None = None,
    ) -> None:
        super().__init__()
        self.model, self.merged = model, merged
        self.mixing, self.bank = mixing, bank

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        seed: int,
        labelled: Tensor | None = None,
        inside: Tensor | None = None,
        counts: Counts | None = None,
    ) -> dict[str, Tensor]:
        """Named losses, to be summed, for RGB uint8 (B,3,H,W) and labels (B,H,W) long.

        `seed` determines all random draws. `labelled` (B,) bool is False for images of a source
        without labels; by default an image is labelled if any of its pixels is. `inside` (B,H,W)
        bool is False beyond the frame; by default all pixels are inside. With the `counts` of a
        step, images and labels come from `prepare`, and the mean over all passes of the step is
        the loss of the step.
        """
        if counts is None:
            images, labels = self.prepare(images, labels, seed, labelled, inside)
            counts = Counts.of(labels, inside)
        return self.losses(images.float(), labels, seed, inside, counts)

    def prepare(
        self,
        images: Tensor,
        labels: Tensor,
        seed: int,
        labelled: Tensor | None = None,
        inside: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The images and labels that the losses are computed on; here they are unchanged."""
        return images, labels

    def losses(
        self,
        images: Tensor,
        labels: Tensor,
        seed: int,
        inside: Tensor | None,
        counts: Counts,
    ) -> dict[str, Tensor]:
        """The named losses of prepared images, float, and labels."""
        with self.mixed(labels, seed):
            if self.merged is None:
                return self.model.loss(images, labels, counts)
            labels = self.model.extended(labels, image_size(images))
            return {'ce': self.merged(self.model(images), labels, counts)}

    def own_parameters(self) -> list[nn.Parameter]:
        """Trained parameters outside the model, which no checkpoint keeps."""
        owned = {id(p) for p in self.model.parameters()}
        return [p for p in self.parameters() if id(p) not in owned and p.requires_grad]

    def mixed(self, labels: Tensor, seed: int) -> AbstractContextManager[None]:
        """Inside the block the encoder mixes styles, if the recipe has `mixing`."""
        if self.mixing is None:
            return nullcontext()
        return mixed_styles(self.model.encoder, labels, self.bank, self.mixing, seed)


def subsample(planes: Tensor, stride: int) -> Tensor:
    """The middle of every `stride` x `stride` pixels of planes (B,H,W): (B,H/stride,W/stride).

    A resize compares score i with the middle of cell i. For an even stride no pixel lies there;
    the one half a pixel behind it is taken. Sides that `stride` does not divide are rounded up.
    """
    for axis in (1, 2):
        side = planes.shape[axis]
        cells = -(-side // stride)
        middle = (torch.arange(cells, device=planes.device) * 2 + 1) * side // (2 * cells)
        planes = planes.index_select(axis, middle)
    return planes
