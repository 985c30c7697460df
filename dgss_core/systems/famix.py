"""FAMix (Fahes et al., CVPR 2024): CLIP's ResNet, DeepLabV3+, and styles mixed by language.

image -> stem, layer1 -> patches in mixed styles -> layer2, 3, 4 -> ASPP -> + -> scores
                                     |                                      ^
                                     +--------------- 48 channels ----------+
"""

from __future__ import annotations

from random import Random
from typing import Any

from torch import Tensor

from dgss_core.adapters.freezing import freeze
from dgss_core.encoders.clip_resnet import ClipResNet
from dgss_core.heads.deeplab import DeepLabHead
from dgss_core.labels import LabelSet
from dgss_core.styles import StyleBank, draw_shares, mix_styles, patch_classes
from dgss_core.systems.model import SegmentationModel


class FamixModel(SegmentationModel):
    """A model that can also be trained in mixed styles."""

    encoder: ClipResNet

    def mixed_loss(
        self, images: Tensor, labels: Tensor, bank: StyleBank, random: Random, side: int = 3
    ) -> dict[str, Tensor]:
        """As `loss`, with the style of each of `side` x `side` patches mixed with a mined one.

        Height and width must be multiples of 4 `side` and of the encoder's `size_multiple`.
        """
        low = self.encoder.low(self.normalise(images))
        shares = draw_shares(len(low), low.shape[1]).to(low)
        low = mix_styles(low, patch_classes(labels, side), bank, shares, random, side)
        return self.head.loss([low, *self.encoder.high(low)], labels)


def famix(
    encoder: ClipResNet, label_set: LabelSet, train: str = 'last_block', **head_sizes: Any
) -> FamixModel:
    """Train the head and `train` of the encoder: 'last_block' from GTA5 and SYNTHIA,
    'last_stage' from Cityscapes. The encoder's output stride is 16 in the paper.
    `head_sizes` are those of `DeepLabHead`.
    """
    freeze(encoder, train)
    head = DeepLabHead(encoder.channels, encoder.strides, len(label_set), **head_sizes)
    return FamixModel(encoder, head, label_set)
