"""The interface of every encoder: images in, feature maps with known strides out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import ceil, log2
from typing import Any

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
    """Normalised RGB (B,3,H,W) of any H and W to maps (B,C_i,h_i,w_i), usually finest first.

    `channels` and `strides` describe the maps. `mean` and `std` (RGB in [0,1]) are the
    normalisation used in pre-training. The network needs H and W to be multiples of
    `size_multiple`: other sizes are padded at the right and bottom by repeating the edge, and the
    maps are cropped to ceil(size / cell). `cells` are the pixels per cell of each map; `strides`
    rounds them to powers of two (a patch of 14 has stride 16). `pad=False` disables padding: the
    network then drops the remainder, as the published FAMix, Rein and VLTSeg do in patches, pools
    and coarse maps. Tokens of the whole image (B,N,C) may follow the maps, as `VisionTransformer`
    says.

    If `adapter` is set, its result replaces the tokens. It is called as `adapter(tokens (B,N,C),
    index)` after each block of plain ViTs, as `adapter(tokens, stage, block)` after each block of
    timm's ResNet and ConvNeXt, and as `adapter(tokens, index)` after each stage of other encoders.
    `adapted` says how often it is called for each map.
    `checkpointing = True` recomputes blocks in the backward pass instead of storing them.

    Frozen parameters cost nothing: autograd records nothing before the first trained layer.
    `train()` keeps every module whose parameters are all frozen in eval mode, so frozen batch
    norms keep their statistics and frozen blocks use no dropout or drop path.
    """

    new_parts: tuple[str, ...] = ('adapter.',)
    """Key prefixes that pre-trained weights never contain."""

    form: Mapping[str, Any] = {}
    """Options in which this network differs from its default, if weights can decide them."""

    keep_prefix: bool = False
    """Whether tokens of the whole image follow the maps."""

    ends_in_relu: bool = False
    """Whether `first_stage` ends in a ReLU, so that its output is never negative."""

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
        self.recomputed_in: Callable[[], AbstractContextManager[None]] = nullcontext

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
        outputs, count = self.maps(x), len(self.cells)
        cropped = [
            y[:, :, : ceil(height / cell), : ceil(width / cell)]
            for y, cell in zip(outputs[:count], self.cells, strict=True)
        ]
        return cropped + outputs[count:]

    def covered(self, size: tuple[int, int], index: int = 0) -> tuple[int, int]:
        """Height and width in pixels that map `index` of an image of `size` covers.

        With padding the last cells reach beyond the image; without, a map is stretched over the
        image, as in the published code. Half pixels (a patch of 14 at a quarter) are rounded.
        """
        if not self.pad:
            return size
        cell = self.cells[index]
        return round(ceil(size[0] / cell) * cell), round(ceil(size[1] / cell) * cell)

    @property
    def adapted(self) -> tuple[int, ...]:
        """How often the adapter is called on the way to each map from the one before it."""
        return (1,) * len(self.channels)

    @abstractmethod
    def maps(self, x: Tensor) -> list[Tensor]:
        """Maps of images whose sides are multiples of `size_multiple`."""

    @abstractmethod
    def trunk(self) -> list[list[nn.Module]]:
        """Pre-trained modules in forward order, one list per stage; the first holds the stem."""

    def sharded_blocks(self) -> list[nn.Module]:
        """Modules that sharded training (FSDP) splits one by one; the rest is one unit."""
        return []

    def first_stage(self) -> nn.Module:
        """The module that gives the earliest feature map, in which styles are mixed."""
        return self.trunk()[0][-1]

    def train(self, mode: bool = True) -> Encoder:
        super().train(mode)
        hold_frozen(self)
        return self

    def run(self, block: nn.Module, *inputs: object) -> Tensor:
        """Run a block. With `checkpointing`, only its inputs are kept for the backward pass.

        The block then runs again in the backward pass, inside the `recomputed_in` of now.
        """
        if self.checkpointing and torch.is_grad_enabled():
            again = self.recomputed_in
            return checkpoint(
                block, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), again())
            )
        return block(*inputs)

    def adapt(self, x: Tensor, *place: int) -> Tensor:
        """Apply the adapter to a map (B,C,h,w); `place` is its index, or stage and block."""
        if self.adapter is None:
            return x
        tokens = self.adapter(x.flatten(2).transpose(1, 2), *place)
        return tokens.transpose(1, 2).unflatten(2, x.shape[-2:])

    def resample(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Resample the weights that depend on the input size; by default there are none."""
        return state

    def load_pretrained(self, state: dict[str, Tensor], origin: str) -> None:
        """Load weights that have this module's names. Raises DgssError as `load_weights` does."""
        load_weights(self, self.resample(state), origin, may_lack=self.new_parts)


def hold_frozen(module: nn.Module) -> None:
    """Set every submodule whose parameters are all frozen to eval mode."""
    for child in module.children():
        trained = [parameter.requires_grad for parameter in child.parameters()]
        if trained and not any(trained):
            child.eval()
        elif trained:
            hold_frozen(child)
