"""EoMT in the names of its authors (tue-mps/eomt) and of transformers."""

from __future__ import annotations

import re

from dgss_core.errors import DgssError
from dgss_core.networks.importers.encoders import import_dinov2
from dgss_core.networks.importers.keys import Rules, Weights, rename, take_prefix

SOURCE = 'a checkpoint of EoMT'
BLOCKS = 4
"""Blocks that queries pass in all published networks, for files that do not tell."""

AUTHORS: Rules = (
    # Normalisation, which the system has, and class weights of the loss.
    (r'encoder\.pixel_(mean|std)|criterion\.empty_weight', ''),
    (r'encoder\.backbone\.norm\.(\w+)', r'head.norm.\1'),
    (r'encoder\.backbone\.(.*)', r'backbone.\1'),
    (r'q\.weight', 'head.queries'),
    (r'class_head\.(\w+)', r'head.classify.\1'),
    (r'mask_head\.([024])\.(\w+)', r'head.mask_embedding.\1.\2'),
    (r'upscale\.(\d)\.conv1\.(\w+)', r'head.upscale.\1.up.\2'),
    (r'upscale\.(\d)\.conv2\.(\w+)', r'head.upscale.\1.smooth.\2'),
    (r'upscale\.(\d)\.norm\.(\w+)', r'head.upscale.\1.norm.\2'),
    (r'attn_mask_probs', 'head.masked_share'),
)
LAYER = r'layers\.(\d+)\.'
TRANSFORMERS: Rules = (
    (r'criterion\.empty_weight|embeddings\.(position_ids|mask_token)', ''),
    (r'embeddings\.cls_token', 'encoder.embed.class_token'),
    (r'embeddings\.register_tokens', 'encoder.embed.registers'),
    (r'embeddings\.position_embeddings\.weight', 'encoder.embed.table'),
    (r'embeddings\.patch_embeddings\.projection\.(\w+)', r'encoder.embed.proj.\1'),
    (LAYER + r'(norm[12])\.(\w+)', r'encoder.blocks.\1.\2.\3'),
    (LAYER + r'attention\.([qkv])_proj\.(\w+)', r'encoder.blocks.\1.attention.\2.\3'),
    (LAYER + r'attention\.out_proj\.(\w+)', r'encoder.blocks.\1.attention.proj.\2'),
    (LAYER + r'layer_scale([12])\.lambda1', r'encoder.blocks.\1.scale\2.gamma'),
    (LAYER + r'mlp\.(fc[12])\.(\w+)', r'encoder.blocks.\1.mlp.\2.\3'),
    (r'layernorm\.(\w+)', r'head.norm.\1'),
    (r'query\.weight', 'head.queries'),
    (r'class_predictor\.(\w+)', r'head.classify.\1'),
    (r'mask_head\.fc1\.(\w+)', r'head.mask_embedding.0.\1'),
    (r'mask_head\.fc2\.(\w+)', r'head.mask_embedding.2.\1'),
    (r'mask_head\.fc3\.(\w+)', r'head.mask_embedding.4.\1'),
    (r'upscale_block\.block\.(\d)\.conv1\.(\w+)', r'head.upscale.\1.up.\2'),
    (r'upscale_block\.block\.(\d)\.conv2\.(\w+)', r'head.upscale.\1.smooth.\2'),
    (r'upscale_block\.block\.(\d)\.layernorm2d\.(\w+)', r'head.upscale.\1.norm.\2'),
    (r'attn_mask_probs', 'head.masked_share'),
)


def import_eomt(weights: Weights) -> Weights:
    """A whole EoMT on DINOv2 with registers, to `encoder.*` and `head.*`.

    The names are those of the authors (with or without `network.`) or those of
    `EomtForUniversalSegmentation`.
    """
    weights = {key.removeprefix('network.'): value for key, value in weights.items()}
    if 'query.weight' in weights:
        renamed = rename(weights, TRANSFORMERS, SOURCE)
        table = renamed.get('encoder.embed.table')
        if table is not None:
            renamed['encoder.embed.table'] = table.reshape(1, *table.shape[-2:])
        return _share_blocks(renamed)
    renamed = rename(weights, AUTHORS, SOURCE)
    backbone = take_prefix(renamed, 'backbone.')
    if 'reg_token' not in backbone or 'head.queries' not in renamed:
        raise DgssError(
            f'This is not {SOURCE} on DINOv2 with registers: it has no weights '
            'network.encoder.backbone.reg_token and network.q.weight; check that the file and the '
            'system belong together.'
        )
    head = {key: value for key, value in renamed.items() if key.startswith('head.')}
    encoder = import_dinov2(backbone)
    return _share_blocks({**{f'encoder.{key}': v for key, v in encoder.items()}, **head})


def _share_blocks(weights: Weights) -> Weights:
    """Give the head the blocks that the queries pass."""
    block = re.compile(r'encoder\.blocks\.(\d+)\.(.*)')
    found = {key: match for key in weights if (match := block.fullmatch(key))}
    depth = 1 + max((int(match[1]) for match in found.values()), default=-1)
    share = weights.get('head.masked_share')
    first = depth - (BLOCKS if share is None else len(share))
    shared = {}
    for key, value in weights.items():
        match = found.get(key)
        if match and int(match[1]) >= first:
            key = f'head.blocks.{int(match[1]) - first}.{match[2]}'
        shared[key] = value
    return shared
