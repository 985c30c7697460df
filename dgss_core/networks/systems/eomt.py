"""EoMT (Kerssies et al., CVPR 2025): queries join the last blocks of a plain ViT.

image -> blocks 1 .. L-4 -> tokens -> blocks L-3 .. L -> queries -> classes
                              ^                  |           |
queries ----------------------+                  +-> up, up -> x -> masks
"""

from __future__ import annotations

from typing import Any

from dgss_core.labels import LabelSet
from dgss_core.networks.adapters.freezing import freeze
from dgss_core.networks.encoders.vit import VisionTransformer
from dgss_core.networks.heads.eomt import split_off_head
from dgss_core.networks.systems.model import SegmentationModel


def eomt(
    encoder: VisionTransformer,
    label_set: LabelSet,
    blocks: int = 4,
    queries: int = 100,
    **options: Any,
) -> SegmentationModel:
    """Train everything; the last `blocks` blocks of `encoder` become the head's.

    `encoder` needs one tap before these blocks, `pyramid='none'` and, as published,
    `keep_prefix=True`. `options` are those of `split_off_head`.
    """
    freeze(encoder, 'full')
    head = split_off_head(encoder, len(label_set), blocks, queries, **options)
    return SegmentationModel(encoder, head, label_set)
