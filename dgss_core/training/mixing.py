"""Local style mixing (FAMix, CVPR 2024, section 3.3) inside any encoder.

The styles come from a mined bank. Without a bank they come from the patches of the batch, as in
MixStyle (Zhou et al., ICLR 2021), but class by class as in FAMix: a patch may draw its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.encoders import Encoder
from dgss_core.training.styles import (
    StyleBank,
    draw_shares,
    mix_styles,
    normalise,
    patch_classes,
    split_patches,
)


@dataclass
class MixingConfig:
    """Which styles are mixed, and how.

    Attributes:
        bank: styles that `dgss mine-styles` wrote for this encoder; null uses those of the batch
        side: patches along each side of an image
        alpha: both parameters of the Beta distribution of the shares
        probability: probability of mixing in a step
    """

    bank: Path | None = None
    side: int = 3
    alpha: float = 0.1
    probability: float = 1.0

    def __post_init__(self) -> None:
        if self.side < 1 or self.alpha <= 0 or not 0 <= self.probability <= 1:
            raise DgssError(
                'Style mixing needs a side of at least 1, an alpha above 0 and a probability of '
                f'0 to 1, not {self.side}, {self.alpha} and {self.probability}.'
            )


@contextmanager
def mixed_styles(
    encoder: Encoder, labels: Tensor, bank: StyleBank | None, config: MixingConfig, seed: int
) -> Iterator[None]:
    """Inside the block the first stage of `encoder` returns its maps in mixed styles.

    With `checkpointing` it does so again in the backward pass, which may follow the block.
    `labels` (B,H,W) belong to the images that will be encoded. Height and width of the labels and
    of the map must be multiples of `config.side`; otherwise it raises DgssError.
    """
    random = Random(seed)
    if random.random() >= config.probability:
        yield
        return
    drawn = random.getstate()
    classes = patch_classes(labels, config.side)

    def mix(maps: Tensor) -> Tensor:
        low = maps.float()
        # The same state each time: checkpointing runs this twice and must draw the same styles.
        random.setstate(drawn)
        shares = draw_shares(len(low), low.shape[1], config.alpha).to(low)
        styles = bank or styles_of(low, classes, config.side)
        mixed = mix_styles(low, classes, styles, shares, random, config.side, encoder.ends_in_relu)
        return mixed.to(maps)

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        if output.ndim == 4:
            return mix(output)
        return mixed_tokens(output, mix, height=inputs[1].height, width=inputs[1].width)

    @contextmanager
    def hooked() -> Iterator[None]:
        handle = encoder.first_stage().register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    before, encoder.recomputed_in = encoder.recomputed_in, hooked
    try:
        with hooked():
            yield
    finally:
        encoder.recomputed_in = before


def styles_of(low: Tensor, classes: Tensor, side: int) -> StyleBank:
    """A bank of the styles of all patches of maps (B,C,H,W)."""
    _, means, stds = normalise(split_patches(low.detach(), side))
    pairs = torch.stack((means.flatten(1), stds.flatten(1)), dim=1)
    found: dict[int, list[Tensor]] = {}
    for label, pair in zip(classes.tolist(), pairs, strict=True):
        found.setdefault(label, []).append(pair)
    return StyleBank({label: torch.stack(styles) for label, styles in found.items()})


def mixed_tokens(
    tokens: Tensor, mix: Callable[[Tensor], Tensor], *, height: int, width: int
) -> Tensor:
    """Tokens (B,prefix+height*width,C) of a ViT with `mix` applied to their map (B,C,H,W)."""
    prefix = tokens.shape[1] - height * width
    low = tokens[:, prefix:].transpose(1, 2).unflatten(2, (height, width))
    return torch.cat((tokens[:, :prefix], mix(low).flatten(2).transpose(1, 2)), dim=1)
