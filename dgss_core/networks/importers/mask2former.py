"""What the published Mask2Former heads name alike."""

from dgss_core.networks.importers.keys import Rules

DEFORMABLE: Rules = (
    (r'self_attn\.sampling_offsets\.(.*)', r'attention.offsets.\2'),
    (r'self_attn\.attention_weights\.(.*)', r'attention.weights.\2'),
    (r'self_attn\.value_proj\.(.*)', r'attention.value.\2'),
    (r'self_attn\.output_proj\.(.*)', r'attention.out.\2'),
)
"""Deformable attention; use with `below` and a prefix whose group 1 is the layer number."""

QUERIES: Rules = (
    (r'query_feat\.weight', r'query_content'),
    (r'query_embed\.weight', r'query_place'),
    (r'level_embed\.weight', r'level_embedding'),
)


def below(theirs: str, ours: str, rules: Rules) -> Rules:
    """`rules` with a pattern before every source key and a template before every target key."""
    return [(theirs + pattern, ours + template) for pattern, template in rules]
