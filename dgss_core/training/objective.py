"""What a training step minimises."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from dgss_core.networks.losses.merged import MergedLoss
from dgss_core.networks.systems import SegmentationModel
from dgss_core.training.mixing import MixingConfig, mixed_styles
from dgss_core.training.styles import StyleBank


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
        images = images.float()
        with self.mixed(labels, seed):
            if self.merged is None:
                return self.model.loss(images, labels)
            return {'ce': self.merged(self.model(images), labels)}

    def own_parameters(self) -> list[nn.Parameter]:
        """What is trained beside the model, and forgotten with the training."""
        owned = {id(p) for p in self.model.parameters()}
        return [p for p in self.parameters() if id(p) not in owned and p.requires_grad]

    def mixed(self, labels: Tensor, seed: int) -> AbstractContextManager[None]:
        """Inside the block the encoder mixes styles, if the recipe says so."""
        if self.mixing is None:
            return nullcontext()
        return mixed_styles(self.model.encoder, labels, self.bank, self.mixing, seed)
