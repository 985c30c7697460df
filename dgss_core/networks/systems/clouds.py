"""CLOUDS (Benigmim et al., CVPR 2024): frozen convolutional CLIP and Mask2Former.

    image -> CLIP ConvNeXt or ResNet, frozen -> maps 4, 8, 16, 32 -> Mask2Former -> masks

The head is trained on the source, then also on generated images with pseudo-labels refined by
`dgss_core.training.pseudo_labels`.
"""

from __future__ import annotations

from typing import Any

from dgss_core.labels import LabelSet
from dgss_core.networks.adapters.freezing import freeze
from dgss_core.networks.encoders.encoder import Encoder
from dgss_core.networks.heads.mask2former import Mask2FormerHead
from dgss_core.networks.systems.model import SegmentationModel

MEAN = (122.7709 / 255, 116.7460 / 255, 104.0937 / 255)
STD = (68.5005 / 255, 66.6322 / 255, 70.3232 / 255)
"""RGB in [0, 1], as published."""


def clouds(encoder: Encoder, label_set: LabelSet, **head_sizes: Any) -> SegmentationModel:
    """Freeze `encoder` and train the head.

    `head_sizes` are options of `Mask2FormerHead`. The published models use a linear classifier;
    `classifier=TextClassifier(...)` compares with class names instead.
    """
    freeze(encoder, 'frozen')
    head = Mask2FormerHead(encoder.channels, encoder.strides, len(label_set), **head_sizes)
    return SegmentationModel(encoder, head, label_set)
