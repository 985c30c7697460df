"""SegFormer and its encoder MiT in the names of transformers and of openmmlab."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from dgss_core.errors import DgssError
from dgss_core.networks.importers.keys import Rules, Weights, rename, take_prefix
from dgss_core.networks.importers.mask2former import below

BLOCK = r'encoder\.block\.(\d)\.(\d+)\.'
STAGE = r'stages\.(\d)\.'
STAGE_BLOCK = STAGE + r'blocks\.(\d+)\.'
REDUCTION = STAGE_BLOCK + r'attention\.sequence_reduction\.'
MODULES: Rules = (
    (STAGE + r'patch_embeddings\.proj\.(\w+)', r'embed.\1.proj.\2'),
    (STAGE + r'patch_embeddings\.layer_norm\.(\w+)', r'embed.\1.norm.\2'),
    (STAGE + r'layer_norm\.(\w+)', r'norms.\1.\2'),
    (STAGE_BLOCK + r'layernorm_before\.(\w+)', r'blocks.\1.\2.norm1.\3'),
    (STAGE_BLOCK + r'layernorm_after\.(\w+)', r'blocks.\1.\2.norm2.\3'),
    (STAGE_BLOCK + r'attention\.([qkv])_proj\.(\w+)', r'blocks.\1.\2.attention.\3.\4'),
    (STAGE_BLOCK + r'attention\.o_proj\.(\w+)', r'blocks.\1.\2.attention.proj.\3'),
    (REDUCTION + r'sequence_reduction\.(\w+)', r'blocks.\1.\2.attention.reduce.\3'),
    (REDUCTION + r'layer_norm\.(\w+)', r'blocks.\1.\2.attention.norm.\3'),
    (STAGE_BLOCK + r'mlp\.(fc[12])\.(\w+)', r'blocks.\1.\2.mlp.\3.\4'),
    (STAGE_BLOCK + r'mlp\.dwconv\.dwconv\.(\w+)', r'blocks.\1.\2.mlp.mix.\3'),
)
"""The modules of transformers 5, which `save_pretrained` renames to those of earlier versions."""
TRANSFORMERS: Rules = (
    *MODULES,
    (r'encoder\.patch_embeddings\.(\d)\.proj\.(\w+)', r'embed.\1.proj.\2'),
    (r'encoder\.patch_embeddings\.(\d)\.layer_norm\.(\w+)', r'embed.\1.norm.\2'),
    (r'encoder\.layer_norm\.(\d)\.(\w+)', r'norms.\1.\2'),
    (BLOCK + r'layer_norm_([12])\.(\w+)', r'blocks.\1.\2.norm\3.\4'),
    (BLOCK + r'attention\.self\.query\.(\w+)', r'blocks.\1.\2.attention.q.\3'),
    (BLOCK + r'attention\.self\.key\.(\w+)', r'blocks.\1.\2.attention.k.\3'),
    (BLOCK + r'attention\.self\.value\.(\w+)', r'blocks.\1.\2.attention.v.\3'),
    (BLOCK + r'attention\.self\.sr\.(\w+)', r'blocks.\1.\2.attention.reduce.\3'),
    (BLOCK + r'attention\.self\.layer_norm\.(\w+)', r'blocks.\1.\2.attention.norm.\3'),
    (BLOCK + r'attention\.output\.dense\.(\w+)', r'blocks.\1.\2.attention.proj.\3'),
    (BLOCK + r'mlp\.dense([12])\.(\w+)', r'blocks.\1.\2.mlp.fc\3.\4'),
    (BLOCK + r'mlp\.dwconv\.dwconv\.(\w+)', r'blocks.\1.\2.mlp.mix.\3'),
)
LAYER = r'layers\.(\d)\.1\.(\d+)\.'
OPENMMLAB: Rules = (
    (r'layers\.(\d)\.0\.projection\.(\w+)', r'embed.\1.proj.\2'),
    (r'layers\.(\d)\.0\.norm\.(\w+)', r'embed.\1.norm.\2'),
    (r'layers\.(\d)\.2\.(\w+)', r'norms.\1.\2'),
    (LAYER + r'norm([12])\.(\w+)', r'blocks.\1.\2.norm\3.\4'),
    (LAYER + r'attn\.attn\.(in_proj_\w+)', r'blocks.\1.\2.attention.\3'),
    (LAYER + r'attn\.attn\.out_proj\.(\w+)', r'blocks.\1.\2.attention.proj.\3'),
    (LAYER + r'attn\.sr\.(\w+)', r'blocks.\1.\2.attention.reduce.\3'),
    (LAYER + r'attn\.norm\.(\w+)', r'blocks.\1.\2.attention.norm.\3'),
    (LAYER + r'ffn\.layers\.0\.(\w+)', r'blocks.\1.\2.mlp.fc1.\3'),
    (LAYER + r'ffn\.layers\.1\.(\w+)', r'blocks.\1.\2.mlp.mix.\3'),
    (LAYER + r'ffn\.layers\.4\.(\w+)', r'blocks.\1.\2.mlp.fc2.\3'),
)
TRANSFORMERS_FORM = {'eps': 1e-5}
"""Options of a MiT of transformers."""
NORM = r'(weight|bias|running_mean|running_var|num_batches_tracked)'
TRANSFORMERS_HEAD: Rules = (
    (r'linear_(?:c|projections)\.(\d)\.proj\.(\w+)', r'project.\1.\2'),
    (r'linear_fuse\.(\w+)', r'fuse.0.\1'),
    (r'batch_norm\.' + NORM, r'fuse.1.\1'),
    (r'classifier\.(\w+)', r'classify.\1'),
)
OPENMMLAB_HEAD: Rules = (
    (r'convs\.(\d)\.conv\.(\w+)', r'project.\1.0.\2'),
    (r'convs\.(\d)\.bn\.' + NORM, r'project.\1.1.\2'),
    (r'fusion_conv\.conv\.(\w+)', r'fuse.0.\1'),
    (r'fusion_conv\.bn\.' + NORM, r'fuse.1.\1'),
    (r'conv_seg\.(\w+)', r'classify.\1'),
)


def import_mit(weights: Weights) -> Weights:
    """MiT in the names of transformers (its classifier is dropped) or of openmmlab."""
    source = 'a MiT encoder'
    weights = take_prefix(weights, 'backbone.') or take_prefix(weights, 'segformer.') or weights
    weights = {key: v for key, v in weights.items() if not key.startswith('classifier.')}
    if any(key.startswith(('encoder.', 'stages.')) for key in weights):
        return rename(weights, TRANSFORMERS, source)
    return _linear(rename(weights, OPENMMLAB, source))


def mit_form(published: Weights) -> dict[str, float]:
    """The options of the MiT that these published weights belong to."""
    theirs = any(re.search(r'(encoder|stages\.\d)\.patch_embeddings\.', key) for key in published)
    return TRANSFORMERS_FORM if theirs else {}


def import_segformer(weights: Weights) -> Weights:
    """A whole SegFormer, to `encoder.*` and `head.*`."""
    source = 'a checkpoint of SegFormer'
    if 'decode_head.linear_fuse.weight' in weights:
        rules = (
            *below(r'segformer\.', 'encoder.', TRANSFORMERS),
            *below(r'decode_head\.', 'head.', TRANSFORMERS_HEAD),
        )
        renamed = rename(weights, rules, source)
        fuse = renamed['head.fuse.0.weight']
        # The coarsest map comes first.
        renamed['head.fuse.0.weight'] = torch.cat(fuse.chunk(4, dim=1)[::-1], dim=1)
        for key, value in renamed.items():
            if key.startswith('head.project.') and value.ndim == 2:
                renamed[key] = value[:, :, None, None]
        return renamed
    if 'decode_head.fusion_conv.conv.weight' in weights:
        rules = (
            *below(r'backbone\.', 'encoder.', OPENMMLAB),
            *below(r'decode_head\.', 'head.', OPENMMLAB_HEAD),
        )
        return _linear(rename(weights, rules, source))
    raise DgssError(
        f'This is not {source}: it has no weights decode_head.linear_fuse.weight (transformers) '
        'and no decode_head.fusion_conv.conv.weight (openmmlab); check that the file and the '
        'system belong together.'
    )


def _linear(weights: Weights) -> Weights:
    """Layers of openmmlab, which are stacked or 1x1 convolutions, as linear layers."""
    cut: dict[str, Tensor] = {}
    for key, value in weights.items():
        stem, stacked, kind = key.partition('.in_proj_')
        if stacked:
            for name, part in zip('qkv', value.chunk(3), strict=True):
                cut[f'{stem}.{name}.{kind}'] = part.clone()
        elif key.endswith(('.mlp.fc1.weight', '.mlp.fc2.weight')):
            cut[key] = value.flatten(1)
        else:
            cut[key] = value
    return cut
