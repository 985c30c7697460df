"""Memory that a forward pass keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def graph_bytes(forward: Callable[[], object]) -> int:
    """Bytes of the tensors that autograd stores during `forward`, each storage counted once.

    Parameters are not counted: they are in memory in any case.
    """
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        leaf = tensor if tensor._base is None else tensor._base
        if not (leaf.is_leaf and leaf.requires_grad):
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = forward()
    del outputs
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
