"""Mask2Former heads in detectron2's names: CLOUDS, with either of its two decoders."""

from dgss_core.networks.importers.keys import Rules, Weights, rename, split_attention
from dgss_core.networks.importers.mask2former import DEFORMABLE, QUERIES, below

LAYER = r'transformer\.encoder\.layers\.(\d+)\.'
PIXEL_RULES: Rules = (
    (r'input_proj\.(\d+)\.([01])\.(.*)', r'project.\1.\2.\3'),
    (r'transformer\.level_embed', r'level_embedding'),
    *below(LAYER, r'layers.\1.', DEFORMABLE),
    (LAYER + r'norm1\.(.*)', r'layers.\1.attention_norm.\2'),
    (LAYER + r'linear1\.(.*)', r'layers.\1.mlp.0.\2'),
    (LAYER + r'linear2\.(.*)', r'layers.\1.mlp.2.\2'),
    (LAYER + r'norm2\.(.*)', r'layers.\1.mlp_norm.\2'),
    (r'adapter_1\.norm\.(.*)', r'lateral.1.\1'),
    (r'adapter_1\.(.*)', r'lateral.0.\1'),
    (r'layer_1\.norm\.(.*)', r'join.1.\1'),
    (r'layer_1\.(.*)', r'join.0.\1'),
    (r'mask_features\.(.*)', r'mask_feature.\1'),
)
CROSS = r'transformer_cross_attention_layers\.(\d+)\.'
SELF = r'transformer_self_attention_layers\.(\d+)\.'
FFN = r'transformer_ffn_layers\.(\d+)\.'
DECODER_RULES: Rules = (
    (CROSS + r'multihead_attn\.out_proj\.(.*)', r'layers.\1.cross.out.\2'),
    (CROSS + r'multihead_attn\.(.*)', r'layers.\1.cross.\2'),
    (CROSS + r'norm\.(.*)', r'layers.\1.cross_norm.\2'),
    (SELF + r'self_attn\.out_proj\.(.*)', r'layers.\1.self_.out.\2'),
    (SELF + r'self_attn\.(.*)', r'layers.\1.self_.\2'),
    (SELF + r'norm\.(.*)', r'layers.\1.self_norm.\2'),
    (FFN + r'linear1\.(.*)', r'layers.\1.mlp.0.\2'),
    (FFN + r'linear2\.(.*)', r'layers.\1.mlp.2.\2'),
    (FFN + r'norm\.(.*)', r'layers.\1.mlp_norm.\2'),
    (r'decoder_norm\.(.*)', r'norm.\1'),
    *QUERIES,
    (r'mask_embed\.layers\.0\.(.*)', r'mask_embedding.0.\1'),
    (r'mask_embed\.layers\.1\.(.*)', r'mask_embedding.2.\1'),
    (r'mask_embed\.layers\.2\.(.*)', r'mask_embedding.4.\1'),
    (r'class_embed\.(weight|bias)', r'classifier.linear.\1'),
    (r'class_embed\.layers\.0\.(.*)', r'classifier.embedding.0.\1'),
    (r'class_embed\.layers\.1\.(.*)', r'classifier.embedding.2.\1'),
    (r'class_embed\.layers\.2\.(.*)', r'classifier.embedding.4.\1'),
    (r'_mask_pooling_proj\.([01])\.(.*)', r'classifier.pooled.\1.\2'),
    (r'logit_scale', r'classifier.log_scale'),
)
RULES: Rules = (
    *below(r'pixel_decoder\.', 'pixel_decoder.', PIXEL_RULES),
    *below(r'predictor\.', 'decoder.', DECODER_RULES),
)
SOURCE = "a Mask2Former head in detectron2's naming"


def mask_decoder(weights: Weights) -> Weights:
    """`predictor.*` (without this prefix) to MaskDecoder with a linear or a text classifier."""
    return rename(split_attention(weights), DECODER_RULES, SOURCE)


def mask2former_head(weights: Weights) -> Weights:
    """`sem_seg_head.*` of a CLOUDS checkpoint (without this prefix) to Mask2FormerHead."""
    return rename(split_attention(weights), RULES, SOURCE)
