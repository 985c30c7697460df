"""The head of BiSeNetV2 (Yu et al., IJCV 2021, figure 8) and its booster."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from dgss_core.networks.heads.head import PixelHead
from dgss_core.networks.layers import conv_bn
from dgss_core.networks.losses.counts import Counts


class BiSeNetV2Head(PixelHead):
    """3x3 and 1x1 on the last map, which the encoder has fused.

    `auxiliary`: in training each of the other maps has a head of its own (the booster, section
    4.1), of the same weight: two 3x3, of 16, 64, 256 and 1024 channels as in OpenMMLab, and 1x1.
    They are not used for the scores.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        width: int = 1024,
        dropout: float = 0.1,
        auxiliary: bool = False,
    ) -> None:
        super().__init__(channels, strides, num_classes, strides[-1])
        self.decode = nn.Sequential(conv_bn(channels[-1], width), nn.Dropout(dropout))
        self.classify = nn.Conv2d(width, num_classes, 1)
        self.auxiliary = auxiliary
        self.boosters = nn.ModuleList(
            _booster(inputs, 16 * 4**level, num_classes, dropout)
            for level, inputs in enumerate(channels[:-1] if auxiliary else ())
        )

    @property
    def classifiers(self) -> tuple[str, ...]:
        return (self.classifier, *(f'boosters.{i}.3' for i in range(len(self.boosters))))

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.classify(self.decode(features[-1]))

    def extra_losses(
        self, scores: Tensor, features: list[Tensor], labels: Tensor, counts: Counts | None
    ) -> dict[str, Tensor]:
        return {
            f'booster_{stride}': self.score_loss(booster(x), labels, counts)
            for booster, x, stride in zip(self.boosters, features, self.strides, strict=False)
        }


def _booster(inputs: int, width: int, num_classes: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        conv_bn(inputs, width),
        conv_bn(width, width),
        nn.Dropout(dropout),
        nn.Conv2d(width, num_classes, 1),
    )
