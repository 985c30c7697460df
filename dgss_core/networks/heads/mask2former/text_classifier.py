"""Classes from text: FC-CLIP's classifier (Yu et al., NeurIPS 2023), as in CLOUDS."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.heads.mask2former.decoder import mlp3


def pool_masks(features: Tensor, masks: Tensor) -> Tensor:
    """(B,N,D): mean of features (B,D,h,w) where the mask logits (B,N,h,w) are positive."""
    inside = (masks.detach() > 0).to(features.dtype)
    share = inside / (inside.sum(dim=(2, 3), keepdim=True) + 1e-8)
    return torch.einsum('bdhw,bnhw->bnd', features, share)


def text_logits(embeddings: Tensor, text: Tensor, prompts: Sequence[int], scale: Tensor) -> Tensor:
    """Scaled cosines (B,N,C) of embeddings (B,N,E) with text (sum of prompts,E).

    The value of class c is the maximum over its `prompts[c]` rows of `text`.
    """
    cosines = F.normalize(embeddings, dim=-1) @ F.normalize(text, dim=-1).T
    best = [group.amax(dim=-1) for group in (scale * cosines).split(list(prompts), dim=-1)]
    return torch.stack(best, dim=-1)


class TextClassifier(nn.Module):
    """Cosines of a query and of the features under its mask with class names.

    "No object" has a learned vector. Classes can be renamed without training, because `text` is
    not among the weights.

    Args:
        width: channels of the queries.
        mask_width: channels of the mask feature.
        text: (sum of prompts,E) embeddings, all rows of class 0 first.
        prompts: number of rows of each class.
    """

    text: Tensor

    def __init__(self, width: int, mask_width: int, text: Tensor, prompts: Sequence[int]) -> None:
        super().__init__()
        if sum(prompts) != len(text):
            raise DgssError(
                f'the text classifier got {len(text)} embeddings for {sum(prompts)} prompts; '
                f'embed every prompt of every class once.'
            )
        self.prompts = tuple(prompts)
        self.register_buffer('text', text, persistent=False)
        self.pooled = nn.Sequential(nn.LayerNorm(mask_width), nn.Linear(mask_width, width))
        self.embedding = mlp3(width, text.shape[1])
        self.none = nn.Parameter(torch.randn(1, text.shape[1]))
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, queries: Tensor, masks: Tensor, mask_feature: Tensor) -> Tensor:
        covered = self.pooled(pool_masks(mask_feature, masks))
        text = torch.cat((self.text, self.none))
        scale = self.log_scale.exp().clamp(max=100)
        return text_logits(self.embedding(covered + queries), text, (*self.prompts, 1), scale)


def geometric_ensemble(
    learned: Tensor, clip: Tensor, seen: Tensor, alpha: float = 0.4, beta: float = 0.8
) -> Tensor:
    """Weighted geometric mean of the trained classifier and frozen CLIP (FC-CLIP, eq. 7).

    Args:
        learned: (B,N,C+1) logits of the head.
        clip: (B,N,C) logits of CLIP's own features, pooled under the masks.
        seen: (C,) bool, classes that the head was trained on.
        alpha, beta: CLIP's share for seen and for unseen classes.

    Returns:
        (B,N,C+1) log-probabilities; "no object" keeps the probability from the head.
    """
    share = torch.where(seen, alpha, beta)
    mixed = (1 - share) * learned[..., :-1].log_softmax(-1) + share * clip.log_softmax(-1)
    none = learned.softmax(-1)[..., -1:]
    return torch.log(torch.cat((mixed.softmax(-1) * (1 - none), none), dim=-1) + 1e-8)
