"""Mask2Former (Cheng et al., CVPR 2022) on any encoder with several maps, all trained.

image -> Swin -> maps 4, 8, 16, 32 -> pixel decoder -> mask decoder, learned queries -> masks
"""

from __future__ import annotations

from typing import Any

from dgss_core.labels import LabelSet
from dgss_core.networks.adapters.freezing import freeze
from dgss_core.networks.encoders.encoder import Encoder
from dgss_core.networks.heads.mask2former import Mask2FormerHead
from dgss_core.networks.systems.model import SegmentationModel


def mask2former(encoder: Encoder, label_set: LabelSet, **head_sizes: Any) -> SegmentationModel:
    """Train everything. `head_sizes` are options of `Mask2FormerHead`."""
    freeze(encoder, 'full')
    head = Mask2FormerHead(encoder.channels, encoder.strides, len(label_set), **head_sizes)
    return SegmentationModel(encoder, head, label_set)
