"""FAMix (Fahes et al., CVPR 2024): CLIP's ResNet, DeepLabV3+, and styles mined with text.

`dgss_core.training.mixing` mixes the styles after layer1.

image -> stem, layer1 -> patches in mixed styles -> layer2, 3, 4 -> ASPP -> + -> scores
                                     |                                      ^
                                     +--------------- 48 channels ----------+
"""

from __future__ import annotations

from typing import Any

from dgss_core.labels import LabelSet
from dgss_core.networks.adapters.freezing import freeze
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.heads.deeplab import DeepLabHead
from dgss_core.networks.systems.model import SegmentationModel


def famix(
    encoder: ClipResNet, label_set: LabelSet, train: str = 'last_block', **head_sizes: Any
) -> SegmentationModel:
    """Train the head and a part of the encoder.

    In the paper `train` is 'last_block' from GTA5 and SYNTHIA, 'last_stage' from Cityscapes, and
    the output stride of the encoder is 16. `head_sizes` are options of `DeepLabHead`.
    """
    freeze(encoder, train)
    head = DeepLabHead(encoder.channels, encoder.strides, len(label_set), **head_sizes)
    return SegmentationModel(encoder, head, label_set)
