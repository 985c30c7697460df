"""What of an encoder is trained."""

from __future__ import annotations

from torch import Tensor

from dgss_core.errors import unknown
from dgss_core.networks.encoders.encoder import Encoder
from dgss_core.networks.encoders.memory import graph_bytes

POLICIES = ('frozen', 'last_block', 'last_stage', 'full')


def freeze(encoder: Encoder, policy: str) -> None:
    """Train nothing of the pre-trained trunk, its last block, its last stage, or all of it.

    Parts that are new in every training (an adapter, a learned pyramid) are not touched. Frozen
    modules go to eval mode and stay there under `train()`. Call it before adding LoRA, whose
    new weights it would freeze. FAMix trains 'last_block' from GTA5 and SYNTHIA and
    'last_stage' from Cityscapes; Rein and CLOUDS are 'frozen', VLTSeg is 'full'.
    """
    if policy not in POLICIES:
        raise unknown('freezing policy', policy, POLICIES)
    stages = encoder.trunk()
    for stage in stages:
        for module in stage:
            module.requires_grad_(policy == 'full')
    trained = {'last_block': stages[-1][-1:], 'last_stage': stages[-1]}
    for module in trained.get(policy, []):
        module.requires_grad_(True)
    encoder.train(encoder.training)


def kept_bytes(encoder: Encoder, x: Tensor) -> dict[str, int]:
    """Bytes autograd keeps of one forward pass under each policy; leaves `encoder` 'full'."""
    kept = {}
    for policy in POLICIES:
        freeze(encoder, policy)
        kept[policy] = graph_bytes(lambda: encoder(x))
    return kept
