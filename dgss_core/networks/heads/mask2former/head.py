"""The Mask2Former head: pixel decoder, mask decoder, set criterion."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.heads.head import Head
from dgss_core.networks.heads.mask2former.decoder import LinearClassifier, MaskDecoder, QueryMasks
from dgss_core.networks.heads.mask2former.pixel_decoder import PixelDecoder
from dgss_core.networks.losses.counts import Counts
from dgss_core.networks.losses.set_criterion import SetCriterion
from dgss_core.networks.resize import resize


def class_scores(prediction: QueryMasks, size: tuple[int, int] | None = None) -> Tensor:
    """S[c] = sum over N queries of P(c|query) * sigmoid(mask): (B,C,h,w) in [0,N].

    With `size` (height, width) the mask logits are resized before the sigmoid, as in all papers.
    """
    masks = prediction.masks if size is None else resize(prediction.masks, size)
    classes = prediction.classes.softmax(dim=-1)[..., :-1]
    return torch.einsum('bnc,bnhw->bchw', classes, masks.sigmoid())


class Mask2FormerHead(Head):
    """Mask2Former (Cheng et al., CVPR 2022) on maps of strictly increasing stride, finest first.

    The defaults are the published sizes (20.57 M parameters at 19 classes behind four maps of
    1024 channels). `linked=True` is Rein's variant, where `forward` and `loss` take the queries.
    Scores are not logits, see `class_scores`.

    Args:
        classifier: replaces the linear classifier, see `MaskDecoder`.
        criterion: replaces `SetCriterion()`.
    """

    probabilities = True
    classifier = 'decoder.classifier.linear'

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        width: int = 256,
        mask_width: int = 256,
        queries: int = 100,
        points: int = 4,
        groups: int = 32,
        encoder_layers: int = 6,
        encoder_heads: int = 8,
        encoder_hidden: int = 1024,
        decoder_layers: int = 9,
        decoder_heads: int = 8,
        decoder_hidden: int = 2048,
        linked: bool = False,
        classifier: nn.Module | None = None,
        criterion: SetCriterion | None = None,
    ) -> None:
        super().__init__(channels, strides, num_classes, strides[0])
        if len(strides) < 2 or any(b <= a for a, b in pairwise(strides)):
            raise DgssError(
                f'Mask2Former needs at least two maps whose stride grows, not strides '
                f'{tuple(strides)}; put a feature pyramid behind a plain ViT.'
            )
        self.pixel_decoder = PixelDecoder(
            channels,
            width,
            mask_width,
            layers=encoder_layers,
            heads=encoder_heads,
            points=points,
            hidden=encoder_hidden,
            groups=groups,
        )
        self.decoder = MaskDecoder(
            classifier or LinearClassifier(width, num_classes),
            queries,
            width,
            mask_width,
            levels=len(strides) - 1,
            layers=decoder_layers,
            heads=decoder_heads,
            hidden=decoder_hidden,
            linked=linked,
        )
        self.criterion = criterion or SetCriterion()

    def predict(self, features: list[Tensor], queries: Tensor | None = None) -> list[QueryMasks]:
        """Predictions before the first and after every decoder layer."""
        mask_feature, memories = self.pixel_decoder(features)
        return self.decoder(mask_feature, memories, queries)

    def forward(self, features: list[Tensor], queries: Tensor | None = None) -> Tensor:
        return class_scores(self.predict(features, queries)[-1])

    def at_size(
        self, features: list[Tensor], size: tuple[int, int], queries: Tensor | None = None
    ) -> Tensor:
        return class_scores(self.predict(features, queries)[-1], size)

    def loss(
        self,
        features: list[Tensor],
        labels: Tensor,
        queries: Tensor | None = None,
        *,
        counts: Counts | None = None,
    ) -> dict[str, Tensor]:
        return self.criterion(self.predict(features, queries), labels, counts)
