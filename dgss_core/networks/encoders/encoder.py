"""The contract every encoder keeps: images in, feature maps with known strides out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import ceil, log2

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dgss_core.errors import DgssError
from dgss_core.networks.encoders.weights import load_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)


class Encoder(nn.Module, ABC):
    """Normalised RGB (B,3,H,W) of any H and W to a list of maps (B,C_i,h_i,w_i), finest first.

    `channels` and `strides` describe the maps, `mean` and `std` (RGB in [0,1]) the
    normalisation the encoder was trained with. `size_multiple` is what the network itself needs
    H and W to be a multiple of: other sizes are padded at the right and bottom by repeating the
    edge, and the maps are cropped back to ceil(size / cell), where `cells` are the pixels one
    cell of a map really spans (`strides` rounds them to powers of two, for a patch of 14).
    `pad=False` hands the image over as it is, and the network drops a remainder where it meets
    one: patches, pools and coarse maps of the published FAMix, Rein and VLTSeg do.

    `adapter`, if set, is called as `adapter(tokens (B,N,C), index)` after each block (plain
    ViTs) or stage (others) and its result goes on in place of the tokens.
    `checkpointing = True` recomputes blocks in the backward pass instead of storing them.

    Parameters that need no gradient are respected throughout: autograd records nothing up to the
    first trained layer, and `train()` leaves every module whose parameters are all frozen in
    eval mode, so frozen batch norms keep their statistics and frozen blocks drop nothing.
    """

    new_parts: tuple[str, ...] = ('adapter.',)
    """Key prefixes that pre-trained weights never hold."""

    def __init__(
        self,
        channels: Sequence[int],
        cells: Sequence[float],
        size_multiple: int,
        mean: Sequence[float],
        std: Sequence[float],
        pad: bool = True,
    ) -> None:
        super().__init__()
        self.channels, self.cells = tuple(channels), tuple(cells)
        self.strides = tuple(2 ** round(log2(cell)) for cell in cells)
        self.size_multiple, self.pad = size_multiple, pad
        self.mean, self.std = tuple(mean), tuple(std)
        self.adapter: nn.Module | None = None
        self.checkpointing = False

    def forward(self, x: Tensor) -> list[Tensor]:
        height, width = x.shape[-2:]
        if not self.pad:
            if min(height, width) < self.size_multiple:
                raise DgssError(
                    f'An image of {width} x {height} is too small for this encoder without '
                    f'padding; give at least {self.size_multiple} pixels, or build it with '
                    'pad=True.'
                )
            return self.maps(x)
        down, right = (-size % self.size_multiple for size in (height, width))
        if down or right:
            x = F.pad(x, (0, right, 0, down), mode='replicate')
        return [
            y[:, :, : ceil(height / cell), : ceil(width / cell)]
            for y, cell in zip(self.maps(x), self.cells, strict=True)
        ]

    @abstractmethod
    def maps(self, x: Tensor) -> list[Tensor]:
        """The network itself, for sizes it takes."""

    @abstractmethod
    def trunk(self) -> list[list[nn.Module]]:
        """The pre-trained modules in the order of the forward pass, one list per stage.

        The stem belongs to the first stage.
        """

    def first_stage(self) -> nn.Module:
        """The module whose output is the earliest map of features, whose style can be mixed."""
        return self.trunk()[0][-1]

    def train(self, mode: bool = True) -> Encoder:
        super().train(mode)
        hold_frozen(self)
        return self

    def run(self, block: nn.Module, *inputs: object) -> Tensor:
        """Run a block, keeping only its inputs for the backward pass if `checkpointing` is on."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)

    def adapt(self, x: Tensor, index: int) -> Tensor:
        """Let the adapter change a map (B,C,h,w)."""
        if self.adapter is None:
            return x
        tokens = self.adapter(x.flatten(2).transpose(1, 2), index)
        return tokens.transpose(1, 2).unflatten(2, x.shape[-2:])

    def fit(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Resample what depends on the input size. By default nothing does."""
        return state

    def load_pretrained(self, state: dict[str, Tensor], origin: str) -> None:
        """Load weights under this module's own names. Raises DgssError as `load_weights` does."""
        load_weights(self, self.fit(state), origin, may_lack=self.new_parts)


def hold_frozen(module: nn.Module) -> None:
    """Put every part below `module` whose parameters are all frozen in eval mode."""
    for child in module.children():
        trained = [parameter.requires_grad for parameter in child.parameters()]
        if trained and not any(trained):
            child.eval()
        elif trained:
            hold_frozen(child)
