"""Our own systems, built from the parts that help most in published comparisons.

    image -> ViT with low-rank adapters -> four taps, joined -> 1x1, up, up, 1x1 -> scores
    image -> ViT with low-rank adapters, queries in its last block -> masks and classes -> scores
    image -> MobileNetV2 -> maps 4, 8, 16, 32 -> light pyramid -> scores

On a large frozen ViT, low-rank adapters bring most of the gain, a heavy head none (ablation of
VFMSeg, AAAI 2025). After training, `merge_lora` merges the adapters into the weights: the deployed
network is a plain ViT with a few convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dgss_core.errors import unknown
from dgss_core.labels import LabelSet
from dgss_core.networks.adapters.freezing import freeze
from dgss_core.networks.adapters.lora import add_lora, add_soma
from dgss_core.networks.encoders.encoder import Encoder
from dgss_core.networks.encoders.vit import VisionTransformer
from dgss_core.networks.heads.eomt import take_last_blocks
from dgss_core.networks.heads.light_conv import LightConvHead
from dgss_core.networks.heads.query import QueryHead
from dgss_core.networks.heads.vit_conv import VitConvHead
from dgss_core.networks.systems.model import SegmentationModel


def dgss_vit(
    encoder: VisionTransformer,
    label_set: LabelSet,
    adapter: str = 'lora',
    rank: int = 32,
    targets: Sequence[str] = ('q', 'k', 'v'),
    dropout: float = 0.1,
    **head_sizes: Any,
) -> SegmentationModel:
    """Train the head, and `encoder` as `adapt` says.

    `encoder` should have `pyramid='none'`. `head_sizes` are options of `VitConvHead`. Raises
    DgssError for another adapter.
    """
    adapt(encoder, adapter, rank, targets, dropout)
    head = VitConvHead(encoder.channels, encoder.strides, len(label_set), **head_sizes)
    return SegmentationModel(encoder, head, label_set)


def dgss_query(
    encoder: VisionTransformer,
    label_set: LabelSet,
    adapter: str = 'lora',
    rank: int = 32,
    targets: Sequence[str] = ('q', 'k', 'v'),
    dropout: float = 0.1,
    **head_sizes: Any,
) -> SegmentationModel:
    """As `dgss_vit`, with queries in the last block, which becomes a part of the head.

    `encoder` has a single tap, after the last block but one, and `pyramid='none'`. `head_sizes`
    are options of `QueryHead`. Raises DgssError for other taps and another adapter.
    """
    adapt(encoder, adapter, rank, targets, dropout)
    (block,) = take_last_blocks(encoder, 1)
    head = QueryHead(
        encoder.channels,
        encoder.strides,
        len(label_set),
        block,
        encoder.rotation,
        **head_sizes,
    )
    return SegmentationModel(encoder, head, label_set)


def adapt(
    encoder: VisionTransformer, adapter: str, rank: int, targets: Sequence[str], dropout: float
) -> None:
    """Choose what is trained in a ViT.

    'lora' trains low-rank adapters of `targets` in all blocks, with alpha = rank. 'soma' does so
    in the last two thirds, starts from the minor singular directions, and has no dropout. Both
    freeze the rest. 'full' trains all weights and has no adapter, for a small student. Raises
    DgssError for another adapter.
    """
    freeze(encoder, 'full' if adapter == 'full' else 'frozen')
    if adapter == 'lora':
        add_lora(encoder.blocks, targets, rank, dropout=dropout)
    elif adapter == 'soma':
        add_soma(encoder.blocks[len(encoder.blocks) // 3 :], targets, rank)
    elif adapter != 'full':
        raise unknown('low-rank adapter', adapter, ('lora', 'soma', 'full'))


def dgss_light(encoder: Encoder, label_set: LabelSet, width: int = 128) -> SegmentationModel:
    """Train everything: the real-time model of the embedded bundle."""
    head = LightConvHead(encoder.channels, encoder.strides, len(label_set), width=width)
    return SegmentationModel(encoder, head, label_set)
