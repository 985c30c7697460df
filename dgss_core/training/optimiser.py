"""Optimisers with a learning rate and a weight decay per parameter."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dgss_core.errors import DgssError
from dgss_core.networks.systems import SegmentationModel
from dgss_core.training.bounds import within
from dgss_core.training.schedule import Schedule

NORMS = (nn.LayerNorm, nn.GroupNorm, _BatchNorm)
LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention)


@dataclass
class OptimiserConfig:
    """The optimiser, its learning rates and its weight decay.

    Attributes:
        name: adamw or sgd
        rate: learning rate
        rates: factors on the rate by pattern of parameter names (`encoder.*`); all matching
            factors are multiplied
        layer_decay: factor on the rate from each block of the encoder to the block before it,
            also of those that the head has taken over
        weight_decay: weight decay of every parameter that is not undecayed
        weight_decay_end: final weight decay, reached along a half cosine; constant when null
        undecayed: parameters without weight decay: `norms`, `biases`, `tables` (tokens,
            embeddings, scales: all parameters outside linear layers, convolutions and norms), or
            patterns of names
        momentum: momentum of SGD
        betas: betas of AdamW
        clip: maximum norm of all gradients together, above 0; null does not clip
        schedule: schedule of the learning rate
    """

    name: Literal['adamw', 'sgd'] = 'adamw'
    rate: float = 1e-4
    rates: dict[str, float] = field(default_factory=dict)
    layer_decay: float = 1.0
    weight_decay: float = 0.05
    weight_decay_end: float | None = None
    undecayed: list[str] = field(default_factory=lambda: ['norms', 'tables'])
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = None
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        within(0, 1e30, rate=self.rate, weight_decay=self.weight_decay)
        within(0, 1e30, weight_decay_end=self.weight_decay_end, rates=[*self.rates.values()])
        within(0, 1, layer_decay=self.layer_decay, momentum=self.momentum, betas=self.betas)
        if self.clip is not None and not self.clip > 0:
            raise DgssError(
                f'Gradients cannot be clipped to a norm of {self.clip}; give a clip above 0, or '
                'leave it null.'
            )


def build_optimiser(
    config: OptimiserConfig, model: SegmentationModel, beside: Iterable[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """The optimiser of all trained parameters of `model`, grouped by rate and decay.

    Parameters `beside` the model get factor 1 and weight decay. Every group has the extra keys
    `factor`, on the learning rate, and `decayed`. Raises DgssError for a pattern that matches no
    parameter.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    factors, undecayed = rate_factors(config, model), undecayed_names(config, model)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((factors[name], name not in undecayed), []).append(parameter)
    for parameter in beside:
        groups.setdefault((1.0, True), []).append(parameter)
    settings = [
        {
            'params': parameters,
            'factor': factor,
            'decayed': decayed,
            'lr': config.rate * factor,
            'weight_decay': config.weight_decay if decayed else 0.0,
        }
        for (factor, decayed), parameters in groups.items()
    ]
    # One launch for many parameters: PyTorch has a fused AdamW for sharded ones too, but no SGD.
    if config.name == 'sgd':
        return torch.optim.SGD(settings, lr=config.rate, momentum=config.momentum, foreach=True)
    return torch.optim.AdamW(settings, lr=config.rate, betas=config.betas, fused=True)


def clip_gradients(optimiser: torch.optim.Optimizer, limit: float | None) -> Tensor:
    """The norm of all gradients together, before they are scaled down to at most `limit`.

    The device is not waited for, so a norm that is not finite raises nothing.
    """
    parameters = [p for group in optimiser.param_groups for p in group['params']]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if limit is not None:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm


def set_rates(
    optimiser: torch.optim.Optimizer, config: OptimiserConfig, step: int, steps: int
) -> None:
    """Set the learning rate and weight decay of every group for `step`, counted from 0."""
    factor = config.schedule.factor(step, steps)
    decay, end = config.weight_decay, config.weight_decay_end
    if end is not None:
        decay = end + (decay - end) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
    for group in optimiser.param_groups:
        group['lr'] = max(config.schedule.least, config.rate * group['factor'] * factor)
        group['weight_decay'] = decay if group['decayed'] else 0.0


def rate_factors(config: OptimiserConfig, model: SegmentationModel) -> dict[str, float]:
    """Factor on the learning rate by parameter name."""
    names = [name for name, _ in model.named_parameters()]
    factors = dict.fromkeys(names, 1.0)
    trunk = [module for stage in model.encoder.trunk() for module in stage]
    blocks = [m for m in trunk + model.head.taken_blocks() if list(m.parameters())]
    depth = {id(p): i for i, block in enumerate(blocks) for p in block.parameters()}
    for name, parameter in model.named_parameters():
        if id(parameter) in depth:
            factors[name] = config.layer_decay ** (len(blocks) - depth[id(parameter)])
    for pattern, factor in config.rates.items():
        for name in fitting(pattern, names):
            factors[name] *= factor
    return factors


def undecayed_names(config: OptimiserConfig, model: nn.Module) -> set[str]:
    """Names of the parameters without weight decay."""
    kinds: dict[str, set[str]] = {'norms': set(), 'biases': set(), 'tables': set()}
    for prefix, module in model.named_modules():
        for name, _ in module.named_parameters(prefix, recurse=False):
            if isinstance(module, NORMS):
                kinds['norms'].add(name)
            elif name.endswith('bias'):
                kinds['biases'].add(name)
            elif not isinstance(module, LAYERS):
                kinds['tables'].add(name)
    names = [name for name, _ in model.named_parameters()]
    chosen = (kinds[rule] if rule in kinds else fitting(rule, names) for rule in config.undecayed)
    return set().union(*chosen)


def fitting(pattern: str, names: list[str]) -> set[str]:
    """The names that match a pattern. Raises DgssError if none does."""
    found = {name for name in names if fnmatchcase(name, pattern)}
    if not found:
        raise DgssError(
            f'No parameter of this model is called {pattern!r}; write a pattern such as '
            f"'encoder.*' or '{names[-1]}'."
        )
    return found
