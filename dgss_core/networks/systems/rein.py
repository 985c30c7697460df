"""Rein (Wei et al., CVPR 2024): tokens refine a frozen encoder and are also the queries.

image -> block 1 -> + Rein 1 -> block 2 -> + Rein 2 -> ... -> Mask2Former -> masks
                      |                     |                     ^
                      +------ tokens -------+----- queries -------+
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.networks.adapters.freezing import freeze
from dgss_core.networks.adapters.reins import Reins, StageReins
from dgss_core.networks.encoders.encoder import Encoder
from dgss_core.networks.encoders.vit import VisionTransformer
from dgss_core.networks.heads.mask2former import Mask2FormerHead
from dgss_core.networks.losses.counts import Counts
from dgss_core.networks.systems.model import SegmentationModel, image_size


class ReinModel(SegmentationModel):
    """A model whose encoder's adapter gives the queries of the mask decoder."""

    encoder: Encoder
    head: Mask2FormerHead

    def queries(self) -> Tensor:
        """Queries (tokens, width), the same for every image."""
        adapter = self.encoder.adapter
        assert isinstance(adapter, (Reins, StageReins))
        return adapter.queries()

    def scores(self, features: list[Tensor]) -> Tensor:
        return self.head(features, self.queries())

    def at_size(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        return self.at_size_of(images, size, self.queries())

    def loss(
        self, images: Tensor, labels: Tensor, counts: Counts | None = None
    ) -> dict[str, Tensor]:
        labels = self.extended(labels, image_size(images))
        return self.head.loss(self.features(images), labels, self.queries(), counts=counts)


def rein(
    encoder: Encoder,
    label_set: LabelSet,
    tokens: int = 100,
    rank: int | None = 16,
    width: int = 256,
    softmax: bool = True,
    zero_delta: bool = False,
    refined: Sequence[int] | None = None,
    **head_sizes: Any,
) -> ReinModel:
    """Freeze `encoder`, refine each of its blocks, and train the refinement and the head.

    timm's ResNet and ConvNeXt are refined after each block too, with a `Reins` per stage; other
    encoders at the end of each stage. With `rank=None` the tokens have full rank. `softmax` and
    `zero_delta` are as in `Reins`. `refined` are the numbers of the refined blocks of a plain ViT,
    if not all are. `head_sizes` are options of `Mask2FormerHead`. Raises DgssError for `refined`
    with another encoder, and for numbers that are not those of different blocks.
    """
    freeze(encoder, 'frozen')
    options: dict[str, Any] = {
        'tokens': tokens,
        'rank': rank,
        'query_width': width,
        'softmax': softmax,
        'zero_delta': zero_delta,
    }
    if refined is not None:
        check_refined(encoder, refined)
    if isinstance(encoder, VisionTransformer):
        layers = len(encoder.blocks if refined is None else refined)
        encoder.adapter = Reins(layers, encoder.channels[0], refined=refined, **options)
    else:
        encoder.adapter = StageReins(encoder.channels, encoder.adapted, **options)
    head = Mask2FormerHead(
        encoder.channels,
        encoder.strides,
        len(label_set),
        width=width,
        queries=tokens,
        linked=True,
        **head_sizes,
    )
    return ReinModel(encoder, head, label_set)


def check_refined(encoder: Encoder, refined: Sequence[int]) -> None:
    """Raise DgssError unless `refined` are the numbers of different blocks of a plain ViT."""
    if not isinstance(encoder, VisionTransformer):
        raise DgssError(
            'refined names blocks of a plain ViT, and this encoder is none: all of its stages are '
            'refined; leave refined out.'
        )
    blocks = len(encoder.blocks)
    if not refined or len(set(refined)) < len(refined) or not set(refined) <= set(range(blocks)):
        raise DgssError(
            f'refined is {list(refined)}, but this ViT has the blocks 0 to {blocks - 1}; name at '
            'least one of them, and each at most once.'
        )


def refined_blocks(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The options of `rein` that imported weights decide.

    An adapter with fewer layers than its ViT has blocks refines the last block of each part, as
    some of Rein's code does on SAM: there these are the blocks with global attention.
    """
    adapter = 'encoder.adapter.tokens'
    tokens = weights.get(f'{adapter}_a', weights.get(adapter))
    blocks = {int(key.split('.')[2]) for key in weights if key.startswith('encoder.blocks.')}
    if tokens is None or len(tokens) >= len(blocks) or len(blocks) % len(tokens):
        return {}
    each = len(blocks) // len(tokens)
    return {'refined': list(range(each - 1, len(blocks), each))}
