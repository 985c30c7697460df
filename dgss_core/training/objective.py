"""What a training step minimises."""

from __future__ import annotations

from contextlib import nullcontext

from torch import Tensor, nn

from dgss_core.losses.merged import MergedLoss
from dgss_core.styles import StyleBank
from dgss_core.systems import SegmentationModel
from dgss_core.training.mixing import MixingConfig, mixed_styles


class Objective(nn.Module):
    """The losses of a model on labelled images.

    `merged` replaces the model's own loss where labels of several label sets meet; `mixing` mixes
    styles of `bank`, or of the batch where that is None.
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

    def forward(self, images: Tensor, labels: Tensor, seed: int) -> dict[str, Tensor]:
        """Named losses, to be summed, for RGB uint8 (B,3,H,W) and labels (B,H,W) long.

        `seed` decides what is drawn inside.
        """
        images, mixing = images.float(), nullcontext()
        if self.mixing is not None:
            mixing = mixed_styles(self.model.encoder, labels, self.bank, self.mixing, seed)
        with mixing:
            if self.merged is None:
                return self.model.loss(images, labels)
            return {'ce': self.merged(self.model(images), labels)}
