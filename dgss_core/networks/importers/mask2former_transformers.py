"""Mask2Former on Swin in the names of transformers."""

from __future__ import annotations

from dgss_core.errors import DgssError
from dgss_core.networks.importers.keys import (
    Rules,
    Weights,
    rename,
    split_attention,
    take_prefix,
)
from dgss_core.networks.importers.mask2former import DEFORMABLE, below
from dgss_core.networks.importers.swin import import_swin

LAYER = r'encoder\.layers\.(\d+)\.'
PIXEL_RULES: Rules = (
    (r'input_projections\.(\d+)\.([01])\.(\w+)', r'project.\1.\2.\3'),
    (r'level_embed', 'level_embedding'),
    *below(LAYER, r'layers.\1.', DEFORMABLE),
    (LAYER + r'self_attn_layer_norm\.(\w+)', r'layers.\1.attention_norm.\2'),
    (LAYER + r'fc1\.(\w+)', r'layers.\1.mlp.0.\2'),
    (LAYER + r'fc2\.(\w+)', r'layers.\1.mlp.2.\2'),
    (LAYER + r'final_layer_norm\.(\w+)', r'layers.\1.mlp_norm.\2'),
    (r'adapter_1\.([01])\.(\w+)', r'lateral.\1.\2'),
    (r'layer_1\.([01])\.(\w+)', r'join.\1.\2'),
    (r'mask_projection\.(\w+)', r'mask_feature.\1'),
)
DECODER = r'decoder\.layers\.(\d+)\.'
MASK_MLP = r'decoder\.mask_predictor\.mask_embedder\.'
DECODER_RULES: Rules = (
    (DECODER + r'cross_attn\.out_proj\.(\w+)', r'layers.\1.cross.out.\2'),
    (DECODER + r'cross_attn\.(.*)', r'layers.\1.cross.\2'),
    (DECODER + r'cross_attn_layer_norm\.(\w+)', r'layers.\1.cross_norm.\2'),
    (DECODER + r'self_attn\.q_proj\.(\w+)', r'layers.\1.self_.query.\2'),
    (DECODER + r'self_attn\.k_proj\.(\w+)', r'layers.\1.self_.key.\2'),
    (DECODER + r'self_attn\.v_proj\.(\w+)', r'layers.\1.self_.value.\2'),
    (DECODER + r'self_attn\.out_proj\.(\w+)', r'layers.\1.self_.out.\2'),
    (DECODER + r'self_attn_layer_norm\.(\w+)', r'layers.\1.self_norm.\2'),
    (DECODER + r'fc1\.(\w+)', r'layers.\1.mlp.0.\2'),
    (DECODER + r'fc2\.(\w+)', r'layers.\1.mlp.2.\2'),
    (DECODER + r'final_layer_norm\.(\w+)', r'layers.\1.mlp_norm.\2'),
    (r'decoder\.layernorm\.(\w+)', r'norm.\1'),
    (MASK_MLP + r'0\.0\.(\w+)', r'mask_embedding.0.\1'),
    (MASK_MLP + r'1\.0\.(\w+)', r'mask_embedding.2.\1'),
    (MASK_MLP + r'2\.0\.(\w+)', r'mask_embedding.4.\1'),
    (r'queries_features\.weight', 'query_content'),
    (r'queries_embedder\.weight', 'query_place'),
    (r'level_embed\.weight', 'level_embedding'),
)
ENCODER = 'model.pixel_level_module.encoder.'
HEAD: Rules = (
    (r'criterion\.empty_weight', ''),
    *below(r'model\.pixel_level_module\.decoder\.', 'head.pixel_decoder.', PIXEL_RULES),
    *below(r'model\.transformer_module\.', 'head.decoder.', DECODER_RULES),
    (r'class_predictor\.(\w+)', r'head.decoder.classifier.linear.\1'),
)


def import_mask2former(weights: Weights) -> Weights:
    """`Mask2FormerForUniversalSegmentation` on Swin, to `encoder.*` and `head.*`."""
    source = "a Mask2Former in transformers' naming"
    encoder = take_prefix(weights, ENCODER)
    if not encoder:
        raise DgssError(
            f'This is not {source}: it has no weights {ENCODER}*; '
            'check that the file and the system belong together.'
        )
    rest = {key: value for key, value in weights.items() if not key.startswith(ENCODER)}
    head = rename(split_attention(rest), HEAD, source)
    return {**{f'encoder.{key}': v for key, v in import_swin(encoder).items()}, **head}
