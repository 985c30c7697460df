"""VLTSeg (Hümmer et al., ACCV 2024): a vision-language encoder and Mask2Former, all trained.

image -> ViT of CLIP -> four taps -> learned pyramid 4, 8, 16, 32 -> Mask2Former -> masks
"""

from __future__ import annotations

from typing import Any

from dgss_core.labels import LabelSet
from dgss_core.networks.encoders.encoder import Encoder
from dgss_core.networks.systems.mask2former import mask2former
from dgss_core.networks.systems.model import SegmentationModel


def vltseg(encoder: Encoder, label_set: LabelSet, **head_sizes: Any) -> SegmentationModel:
    """Train everything; the recipe trains the encoder with a tenth of the head's learning rate.

    `encoder` should have `pyramid='learned'`. `head_sizes` are options of `Mask2FormerHead`.
    """
    return mask2former(encoder, label_set, **head_sizes)
