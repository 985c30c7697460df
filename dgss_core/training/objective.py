"""The losses that a training step minimises."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from dgss_core.networks.losses.merged import MergedLoss
from dgss_core.networks.systems import SegmentationModel
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
        self, images: Tensor, labels: Tensor, seed: int, labelled: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Named losses, to be summed, for RGB uint8 (B,3,H,W) and labels (B,H,W) long.

        `seed` determines all random draws. `labelled` (B,) bool is False for images of a source
        without labels; by default an image is labelled if any of its pixels is.
        """
        images = images.float()
        with self.mixed(labels, seed):
            if self.merged is None:
                return self.model.loss(images, labels)
            return {'ce': self.merged(self.model(images), labels)}

    def own_parameters(self) -> list[nn.Parameter]:
        """Trained parameters outside the model, which no checkpoint keeps."""
        owned = {id(p) for p in self.model.parameters()}
        return [p for p in self.parameters() if id(p) not in owned and p.requires_grad]

    def mixed(self, labels: Tensor, seed: int) -> AbstractContextManager[None]:
        """Inside the block the encoder mixes styles, if the recipe has `mixing`."""
        if self.mixing is None:
            return nullcontext()
        return mixed_styles(self.model.encoder, labels, self.bank, self.mixing, seed)


def subsample(labels: Tensor, stride: int) -> Tensor:
    """Every `stride`-th row and column of labels (B,H,W)."""
    return labels[:, ::stride, ::stride]
