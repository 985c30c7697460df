"""Published adapter weights, renamed to `dgss_core.networks.adapters`."""

from __future__ import annotations

from dgss_core.networks.importers.encoders import BLOCK, BLOCKS, EMBED
from dgss_core.networks.importers.keys import Rules, Weights, rename

REINS: Rules = (
    (r'learnable_tokens', 'tokens'),
    (r'learnable_tokens_([ab])', r'tokens_\1'),
    (r'scale', 'scale'),
    (r'mlp_token2feat\.(weight|bias)', r'feature.\1'),
    (r'mlp_delta_f\.(weight|bias)', r'delta.\1'),
    (r'transform\.(weight|bias)', r'to_query.\1'),
    (r'merge\.(weight|bias)', r'merge.\1'),
)
SOMA: Rules = (
    *EMBED,
    *BLOCKS,
    (BLOCK + r'\.attn\.([qkv]|proj)\.lora_A\.weight', r'blocks.\1.attention.\2.lora_a'),
    (BLOCK + r'\.attn\.([qkv]|proj)\.lora_B\.weight', r'blocks.\1.attention.\2.lora_b'),
    (BLOCK + r'\.mlp\.(fc[12])\.lora_A\.weight', r'blocks.\1.mlp.\2.lora_a'),
    (BLOCK + r'\.mlp\.(fc[12])\.lora_B\.weight', r'blocks.\1.mlp.\2.lora_b'),
)


def import_reins(weights: Weights) -> Weights:
    """Rein's adapter: `backbone.reins.*` of its checkpoint (without this prefix) to `Reins`."""
    return rename(weights, REINS, 'an adapter of Rein')


def import_soma(weights: Weights) -> Weights:
    """SoMA on DINOv2: `backbone.model.*` of its checkpoint (without this prefix).

    Small files hold adapters and biases only; load them into a DINOv2 with `add_soma` applied.
    """
    return rename(weights, SOMA, 'a SoMA checkpoint')
