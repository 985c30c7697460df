"""Style mining of FAMix (CVPR 2024, section 3.2): one pass over a training set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import torch
from torch import Tensor

from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.text.embeddings import TextTower, famix_embeddings
from dgss_core.training.styles import (
    StyleBank,
    first_of_each_class,
    mine_styles,
    patch_classes,
    split_patches,
)

SIDE = 3
"""Patches along each side of a crop."""


def mine_bank(
    encoder: ClipResNet,
    tower: TextTower,
    batches: Iterable[tuple[Tensor, Tensor]],
    label_set: LabelSet,
    styles: Sequence[str],
    seed: int,
    steps: int = 100,
) -> StyleBank:
    """Mine the first patch of every class in every batch towards a random one of `styles`.

    `encoder` must be CLIP's own, with its attention pool and an output stride of 32. `batches` are
    RGB uint8 (B,3,H,W) with labels (B,H,W), on the device of the encoder. Patches of class 255
    are mined towards the text of a plain photo. Raises DgssError if `styles` is empty.
    """
    if not styles:
        raise DgssError('There are no styles to mine; give a file that lists at least one.')
    encoder.requires_grad_(False).eval()
    device = next(encoder.parameters()).device
    texts = torch.stack([famix_embeddings(tower, label_set.names, style) for style in styles])
    texts, random, bank = texts.to(device), Random(seed), StyleBank({})
    mean, std = (
        torch.tensor(values, device=device).view(1, 3, 1, 1) * 255
        for values in (encoder.mean, encoder.std)
    )

    def embed(low: Tensor) -> Tensor:
        return encoder.embed(encoder.high(low)[-1])

    for images, labels in batches:
        with torch.no_grad():
            low = encoder.low((images.float() - mean) / std)
        classes = patch_classes(labels.long(), SIDE).tolist()
        chosen = first_of_each_class(classes)
        classes = [classes[index] for index in chosen]
        rows = [len(label_set) if label == IGNORE else label for label in classes]
        targets = torch.stack([texts[random.randrange(len(styles)), row] for row in rows])
        patches = split_patches(low, SIDE)[chosen]
        means, stds, _ = mine_styles(patches, targets, embed, steps)
        bank.add(classes, means, stds)
    return bank
