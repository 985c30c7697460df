"""Published convolutional networks for real time: all of them is trained.

image -> branches of several resolutions, fused at stride 8 -> 3x3 -> 1x1 -> scores
"""

from __future__ import annotations

from typing import Any

from dgss_core.labels import LabelSet
from dgss_core.networks.encoders.bisenetv2 import BiSeNetV2
from dgss_core.networks.encoders.ddrnet import DDRNet
from dgss_core.networks.encoders.pidnet import PIDNet
from dgss_core.networks.heads.bisenetv2 import BiSeNetV2Head
from dgss_core.networks.heads.dual_resolution import DualResolutionHead, PIDHead
from dgss_core.networks.systems.model import SegmentationModel

COINCHEUNG = {
    'mean': (0.3257, 0.3690, 0.3223),
    'std': (0.2112, 0.2148, 0.2115),
    'upsampling': 'nearest',
}
"""Options of `BiSeNetV2` for CoinCheung's files (lib/data/cityscapes_cv2.py, RGB in [0, 1])."""


def ddrnet(encoder: DDRNet, label_set: LabelSet, **head_sizes: Any) -> SegmentationModel:
    """DDRNet (Hong et al., 2021); `head_sizes` are options of `DualResolutionHead`."""
    head = DualResolutionHead(encoder.channels, encoder.strides, len(label_set), **head_sizes)
    return SegmentationModel(encoder, head, label_set)


def pidnet(encoder: PIDNet, label_set: LabelSet, **head_sizes: Any) -> SegmentationModel:
    """PIDNet (Xu et al., CVPR 2023); `head_sizes` are options of `PIDHead`."""
    head = PIDHead(encoder.channels, encoder.strides, len(label_set), **head_sizes)
    return SegmentationModel(encoder, head, label_set)


def bisenetv2(encoder: BiSeNetV2, label_set: LabelSet, **head_sizes: Any) -> SegmentationModel:
    """BiSeNetV2 (Yu et al., IJCV 2021); `head_sizes` are options of `BiSeNetV2Head`."""
    head = BiSeNetV2Head(encoder.channels, encoder.strides, len(label_set), **head_sizes)
    return SegmentationModel(encoder, head, label_set)
