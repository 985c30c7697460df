"""SoMA (Yun et al., CVPR 2025): low-rank adapters that start from minor singular directions.

image -> DINOv2, the last two thirds of its blocks adapted -> maps 4, 8, 16, 32 -> Mask2Former
"""

from __future__ import annotations

from typing import Any

from dgss_core.labels import LabelSet
from dgss_core.networks.adapters.freezing import freeze
from dgss_core.networks.adapters.lora import add_soma
from dgss_core.networks.encoders.vit import VisionTransformer
from dgss_core.networks.heads.mask2former import Mask2FormerHead
from dgss_core.networks.systems.model import SegmentationModel


def soma(
    encoder: VisionTransformer, label_set: LabelSet, rank: int | None = 16, **head_sizes: Any
) -> SegmentationModel:
    """Train adapters and biases of the last two thirds of the blocks, and the head.

    The directions come from the current weights of `encoder`, which must be pre-trained.
    `rank=None` adds no adapters, like a trained model after merging. `head_sizes` are options of
    `Mask2FormerHead`.
    """
    freeze(encoder, 'frozen')
    if rank is not None:
        add_soma(encoder.blocks[len(encoder.blocks) // 3 :], rank=rank)
    head = Mask2FormerHead(encoder.channels, encoder.strides, len(label_set), **head_sizes)
    return SegmentationModel(encoder, head, label_set)
