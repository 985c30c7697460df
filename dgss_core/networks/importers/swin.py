"""Swin in the names of timm, of transformers and of openmmlab."""

from __future__ import annotations

from dgss_core.networks.importers.encoders import split_qkv
from dgss_core.networks.importers.keys import Rules, Weights, rename

BLOCK = r'layers\.(\d)\.blocks\.(\d+)\.'
TIMM: Rules = (
    (r'(norm|head)\..*|.*\.(relative_position_index|attn_mask)', ''),
    (r'patch_embed\.proj\.(\w+)', r'proj.\1'),
    (r'patch_embed\.norm\.(\w+)', r'first_norm.\1'),
    (BLOCK + r'(norm[12])\.(\w+)', r'blocks.\1.\2.\3.\4'),
    (BLOCK + r'attn\.(qkv|proj)\.(\w+)', r'blocks.\1.\2.attention.\3.\4'),
    (BLOCK + r'attn\.relative_position_bias_table', r'blocks.\1.\2.attention.offsets'),
    (BLOCK + r'mlp\.(fc[12])\.(\w+)', r'blocks.\1.\2.mlp.\3.\4'),
    # timm merges at the start of a stage.
    *(
        rule
        for stage in (1, 2, 3)
        for rule in (
            (rf'layers\.{stage}\.downsample\.norm\.(\w+)', rf'merges.{stage - 1}.norm.\1'),
            (rf'layers\.{stage}\.downsample\.reduction\.(\w+)', rf'merges.{stage - 1}.reduce.\1'),
        )
    ),
)
TRANSFORMERS_BLOCK = r'(?:swin\.)?encoder\.' + BLOCK
TRANSFORMERS: Rules = (
    (r'(?:swin\.)?layernorm\.\w+|.*\.relative_position_index', ''),
    (r'(?:swin\.)?embeddings\.patch_embeddings\.projection\.(\w+)', r'proj.\1'),
    (r'(?:swin\.)?embeddings\.norm\.(\w+)', r'first_norm.\1'),
    (TRANSFORMERS_BLOCK + r'layernorm_before\.(\w+)', r'blocks.\1.\2.norm1.\3'),
    (TRANSFORMERS_BLOCK + r'layernorm_after\.(\w+)', r'blocks.\1.\2.norm2.\3'),
    (TRANSFORMERS_BLOCK + r'attention\.self\.query\.(\w+)', r'blocks.\1.\2.attention.q.\3'),
    (TRANSFORMERS_BLOCK + r'attention\.self\.key\.(\w+)', r'blocks.\1.\2.attention.k.\3'),
    (TRANSFORMERS_BLOCK + r'attention\.self\.value\.(\w+)', r'blocks.\1.\2.attention.v.\3'),
    (
        TRANSFORMERS_BLOCK + r'attention\.self\.relative_position_bias_table',
        r'blocks.\1.\2.attention.offsets',
    ),
    # The modules of transformers 5, which save_pretrained renames to those of earlier versions.
    (TRANSFORMERS_BLOCK + r'attention\.([qkv])_proj\.(\w+)', r'blocks.\1.\2.attention.\3.\4'),
    (TRANSFORMERS_BLOCK + r'attention\.o_proj\.(\w+)', r'blocks.\1.\2.attention.proj.\3'),
    (
        TRANSFORMERS_BLOCK + r'attention\.relative_position_bias\.relative_position_bias_table',
        r'blocks.\1.\2.attention.offsets',
    ),
    (TRANSFORMERS_BLOCK + r'mlp\.(fc[12])\.(\w+)', r'blocks.\1.\2.mlp.\3.\4'),
    (TRANSFORMERS_BLOCK + r'attention\.output\.dense\.(\w+)', r'blocks.\1.\2.attention.proj.\3'),
    (TRANSFORMERS_BLOCK + r'intermediate\.dense\.(\w+)', r'blocks.\1.\2.mlp.fc1.\3'),
    (TRANSFORMERS_BLOCK + r'output\.dense\.(\w+)', r'blocks.\1.\2.mlp.fc2.\3'),
    (r'(?:swin\.)?encoder\.layers\.(\d)\.downsample\.norm\.(\w+)', r'merges.\1.norm.\2'),
    (r'(?:swin\.)?encoder\.layers\.(\d)\.downsample\.reduction\.(\w+)', r'merges.\1.reduce.\2'),
    *(
        (rf'hidden_states_norms\.stage{stage + 1}\.(\w+)', rf'norms.{stage}.\1')
        for stage in range(4)
    ),
)
STAGE = r'stages\.(\d)\.blocks\.(\d+)\.'
OPENMMLAB: Rules = (
    (r'.*\.relative_position_index', ''),
    (r'patch_embed\.projection\.(\w+)', r'proj.\1'),
    (r'patch_embed\.norm\.(\w+)', r'first_norm.\1'),
    (STAGE + r'(norm[12])\.(\w+)', r'blocks.\1.\2.\3.\4'),
    (STAGE + r'attn\.w_msa\.(qkv|proj)\.(\w+)', r'blocks.\1.\2.attention.\3.\4'),
    (STAGE + r'attn\.w_msa\.relative_position_bias_table', r'blocks.\1.\2.attention.offsets'),
    (STAGE + r'ffn\.layers\.0\.0\.(\w+)', r'blocks.\1.\2.mlp.fc1.\3'),
    (STAGE + r'ffn\.layers\.1\.(\w+)', r'blocks.\1.\2.mlp.fc2.\3'),
    (r'stages\.(\d)\.downsample\.norm\.(\w+)', r'merges.\1.norm.\2'),
    (r'stages\.(\d)\.downsample\.reduction\.(\w+)', r'merges.\1.reduce.\2'),
    (r'norm(\d)\.(\w+)', r'norms.\1.\2'),
)


def import_swin(weights: Weights) -> Weights:
    """Swin: timm's files, a `SwinBackbone` of transformers, or openmmlab's backbone."""
    source = 'a Swin Transformer'
    if any('embeddings.' in key for key in weights):
        return rename(weights, TRANSFORMERS, source)
    if 'patch_embed.projection.weight' not in weights:
        return split_qkv(rename(weights, TIMM, source))
    renamed = split_qkv(rename(weights, OPENMMLAB, source))
    for key, value in renamed.items():
        if key.startswith('merges.'):
            # openmmlab joins the four tokens of a square channel by channel, row by row.
            parts = value.unflatten(-1, (-1, 2, 2))
            renamed[key] = parts.movedim(-3, -1).transpose(-3, -2).flatten(-3)
    return renamed
