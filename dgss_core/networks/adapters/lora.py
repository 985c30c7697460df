"""Low-rank adapters beside frozen linear layers, which merge into them after training.

LoRA (Hu et al. 2022) learns a change B A of a weight W, starting from zero:

    y = W x + b + alpha / rank * B A x

SoMA (Yun et al., CVPR 2025) starts elsewhere: with W = U S V^T it takes the `rank` smallest
singular values out of W and into B A, so the output is unchanged at first and training moves
the directions that matter least to what the encoder already knows:

    A = sqrt(S_r) V_r^T,  B = U_r sqrt(S_r),  W <- W - B A
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.errors import DgssError


class LoRALinear(nn.Linear):
    """A linear layer that takes over the weights of another and adds `scale * lora_b lora_a`.

    The dropout is on the input of the low-rank branch. The weight is frozen; the bias keeps
    what it was.
    """

    def __init__(
        self, linear: nn.Linear, rank: int, scale: float = 1.0, dropout: float = 0.0
    ) -> None:
        outputs, inputs = linear.weight.shape
        super().__init__(inputs, outputs, linear.bias is not None, device='meta')
        if not 1 <= rank <= min(inputs, outputs):
            raise DgssError(
                f'A linear layer of {inputs} x {outputs} has no adapter of rank {rank}; choose '
                f'1 to {min(inputs, outputs)}.'
            )
        self.weight, self.bias = linear.weight, linear.bias
        self.weight.requires_grad_(False)
        self.lora_a = nn.Parameter(self.weight.new_empty(rank, inputs))
        self.lora_b = nn.Parameter(self.weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.scale, self.dropout = scale, nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        low = F.linear(F.linear(self.dropout(x), self.lora_a), self.lora_b)
        return F.linear(x, self.weight, self.bias) + self.scale * low

    @torch.no_grad()
    def take_minor_directions(self) -> None:
        """Move the smallest singular values of the weight into the adapter (SoMA)."""
        rank = len(self.lora_a)
        U, S, Vh = torch.linalg.svd(self.weight.double(), full_matrices=False)
        root = (S[-rank:] / self.scale).sqrt()
        self.lora_a.copy_(root[:, None] * Vh[-rank:])
        self.lora_b.copy_(U[:, -rank:] * root)
        self.weight -= self.scale * self.lora_b @ self.lora_a

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The plain linear layer that gives the same output; its weight is frozen too."""
        outputs, inputs = self.weight.shape
        linear = nn.Linear(inputs, outputs, self.bias is not None, device='meta')
        weight = self.weight + self.scale * self.lora_b @ self.lora_a
        linear.weight, linear.bias = nn.Parameter(weight, requires_grad=False), self.bias
        return linear


def add_lora(
    blocks: Iterable[nn.Module],
    targets: Sequence[str] = ('q', 'k', 'v'),
    rank: int = 32,
    alpha: float | None = None,
    dropout: float = 0.0,
) -> None:
    """Give every linear layer in `blocks` whose own name is in `targets` a LoRA.

    Names in our ViTs: q, k, v, proj, fc1, fc2; w1, w2, w3 in EVA-02. `alpha` is `rank` by
    default. Freeze first, then add: the new weights are trained. Raises DgssError when a target
    is nowhere in the blocks.
    """
    scale = 1.0 if alpha is None else alpha / rank
    _replace(blocks, targets, lambda linear: LoRALinear(linear, rank, scale, dropout))


def add_soma(
    blocks: Iterable[nn.Module],
    targets: Sequence[str] = ('q', 'k', 'v', 'proj', 'fc1', 'fc2'),
    rank: int = 16,
) -> None:
    """As `add_lora`, started from the minor singular directions; the biases are trained too.

    The paper adapts the blocks from the 8th (of 24) on: `add_soma(encoder.blocks[8:])`.
    """

    def make(linear: nn.Linear) -> LoRALinear:
        adapted = LoRALinear(linear, rank)
        adapted.take_minor_directions()
        if adapted.bias is not None:
            adapted.bias.requires_grad_(True)
        return adapted

    _replace(blocks, targets, make)


def merge_lora(module: nn.Module) -> int:
    """Make every LoRALinear below `module` a plain nn.Linear again; returns how many."""
    merged = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoRALinear):
                setattr(parent, name, child.merged())
                merged += 1
    return merged


def _replace(
    blocks: Iterable[nn.Module],
    targets: Sequence[str],
    make: Callable[[nn.Linear], LoRALinear],
) -> None:
    linears = [
        (parent, name, child)
        for block in blocks
        for parent in block.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
    names = {name for _, name, _ in linears}
    unknown = sorted(set(targets) - names)
    if unknown:
        raise DgssError(
            f'These blocks have no linear layer {", ".join(unknown)} to adapt; choose from '
            f'{", ".join(sorted(names)) or "none"}.'
        )
    for parent, name, linear in linears:
        if name in targets and not isinstance(linear, LoRALinear):
            setattr(parent, name, make(linear))
