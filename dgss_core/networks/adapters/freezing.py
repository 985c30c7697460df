"""Which parts of an encoder are trained."""

from __future__ import annotations

from torch import Tensor, nn

from dgss_core.errors import unknown
from dgss_core.networks.adapters.lora import LoRALinear
from dgss_core.networks.encoders.encoder import Encoder
from dgss_core.networks.encoders.memory import graph_bytes

POLICIES = ('frozen', 'last_block', 'last_stage', 'full')


def freeze(encoder: Encoder, policy: str) -> None:
    """Train nothing of the pre-trained trunk, its last block, its last stage, or all of it.

    Parts that are new in every training (an adapter, a learned pyramid, low-rank adapters) do not
    change, so `freeze` and `add_lora` may be called in any order. Frozen modules go to eval mode
    and stay there under `train()`. FAMix trains 'last_block' from GTA5 and SYNTHIA and
    'last_stage' from Cityscapes; Rein and CLOUDS are 'frozen', VLTSeg is 'full'. Raises DgssError
    for an unknown policy.
    """
    if policy not in POLICIES:
        raise unknown('freezing policy', policy, POLICIES)
    stages = encoder.trunk()
    for stage in stages:
        for module in stage:
            _set_trained(module, policy == 'full')
    trained = {'last_block': stages[-1][-1:], 'last_stage': stages[-1]}
    for module in trained.get(policy, []):
        _set_trained(module, True)
    encoder.train(encoder.training)


def _set_trained(module: nn.Module, trained: bool) -> None:
    adapted = [part for part in module.modules() if isinstance(part, LoRALinear)]
    fixed = {id(parameter) for part in adapted for parameter in part.fixed_parameters()}
    for parameter in module.parameters():
        if id(parameter) not in fixed:
            parameter.requires_grad_(trained)


def kept_bytes(encoder: Encoder, x: Tensor) -> dict[str, int]:
    """Bytes that autograd keeps for one forward pass of `x` (B,3,H,W), by policy.

    Leaves `encoder` with the policy 'full'.
    """
    kept = {}
    for policy in POLICIES:
        freeze(encoder, policy)
        kept[policy] = graph_bytes(lambda: encoder(x))
    return kept
