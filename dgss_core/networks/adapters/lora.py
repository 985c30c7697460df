"""Low-rank adapters beside frozen linear layers; they merge into the layers after training.

LoRA (Hu et al. 2022) learns a change B A of a weight W, which starts at zero:

    y = W x + b + alpha / rank * B A x

SoMA (Yun et al., CVPR 2025) moves the `rank` smallest singular values of W = U S V^T into B A.
The output does not change at first, and training changes the directions that matter least to the
pre-trained encoder:

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
    """A linear layer with the weights of `linear`, plus `scale * lora_b lora_a`.

    Dropout applies to the input of the low-rank branch. The weight is frozen. The bias is trained
    with `train_bias`, otherwise it stays trained or frozen as in `linear`.
    """

    def __init__(
        self,
        linear: nn.Linear,
        rank: int,
        scale: float = 1.0,
        dropout: float = 0.0,
        train_bias: bool = False,
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
        self.train_bias = train_bias and self.bias is not None
        if self.train_bias:
            self.bias.requires_grad_(True)
        self.lora_a = nn.Parameter(self.weight.new_empty(rank, inputs))
        self.lora_b = nn.Parameter(self.weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.scale, self.dropout = scale, nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        low = F.linear(F.linear(self.dropout(x), self.lora_a), self.lora_b)
        return F.linear(x, self.weight, self.bias) + self.scale * low

    def fixed_parameters(self) -> list[Tensor]:
        """Parameters that no freezing policy changes: the adapter decides if they are trained."""
        fixed: list[Tensor] = [self.weight, self.lora_a, self.lora_b]
        return [*fixed, self.bias] if self.train_bias else fixed

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
        """A plain linear layer with the same output; its weight is frozen."""
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
    """Add LoRA to every linear layer in `blocks` whose own name is in `targets`.

    Names in our ViTs are q, k, v, proj, fc1 and fc2, in EVA-02 also w1, w2 and w3. `alpha` is
    `rank` by default. Raises DgssError if the blocks lack a target, and for a rank that a layer
    cannot have.
    """
    scale = 1.0 if alpha is None else alpha / rank
    _replace(blocks, targets, lambda linear: LoRALinear(linear, rank, scale, dropout))


def add_soma(
    blocks: Iterable[nn.Module],
    targets: Sequence[str] = ('q', 'k', 'v', 'proj', 'fc1', 'fc2'),
    rank: int = 16,
) -> None:
    """As `add_lora`, but starts from the minor singular directions and also trains the biases.

    The paper adapts the last 16 of 24 blocks: `add_soma(encoder.blocks[8:])`.
    """

    def make(linear: nn.Linear) -> LoRALinear:
        adapted = LoRALinear(linear, rank, train_bias=True)
        adapted.take_minor_directions()
        return adapted

    _replace(blocks, targets, make)


def merge_lora(module: nn.Module) -> int:
    """Replace every LoRALinear in `module` by a plain nn.Linear; returns their number."""
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
