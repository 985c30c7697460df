"""Networks that are built without drawing their weights."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode


class Undrawn(TorchFunctionMode):
    """Leaves the weights of the networks built inside without values, for those loaded later.

    To draw the weights of a ViT-L takes seconds, also on the meta device, where they have none.
    """

    DRAWS = (
        *('uniform_', 'normal_', 'trunc_normal_', 'erfinv_', 'clamp_', 'mul_', 'add_'),
        *(f'{kind}_{how}_' for kind in ('kaiming', 'xavier') for how in ('uniform', 'normal')),
    )

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func.__name__ in self.DRAWS:
            weights = args[0] if args else given['tensor']
            if weights.is_meta or isinstance(weights, nn.Parameter):
                return weights
        return func(*args, **given)
