"""SegFormer (Xie et al., NeurIPS 2021): a mix transformer and an all-MLP head, all trained.

image -> MiT -> maps 4, 8, 16, 32 -> linear, up -> joined -> linear -> scores
"""

from __future__ import annotations

from typing import Any

from dgss_core.labels import LabelSet
from dgss_core.networks.adapters.freezing import freeze
from dgss_core.networks.encoders.encoder import Encoder
from dgss_core.networks.heads.all_mlp import AllMlpHead
from dgss_core.networks.systems.model import SegmentationModel


def segformer(encoder: Encoder, label_set: LabelSet, **head_sizes: Any) -> SegmentationModel:
    """Train everything. `head_sizes` are options of `AllMlpHead`."""
    freeze(encoder, 'full')
    head = AllMlpHead(encoder.channels, encoder.strides, len(label_set), **head_sizes)
    return SegmentationModel(encoder, head, label_set)
