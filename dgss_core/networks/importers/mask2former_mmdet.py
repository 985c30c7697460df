"""Mask2Former heads in mmdetection's names: Rein and VLTSeg."""

from dgss_core.networks.importers.keys import Rules, Weights, rename, split_attention
from dgss_core.networks.importers.mask2former import DEFORMABLE, QUERIES, below

LAYER = r'encoder\.layers\.(\d+)\.'
PIXEL_RULES: Rules = (
    (r'input_convs\.(\d)\.conv\.(.*)', r'project.\1.0.\2'),
    (r'input_convs\.(\d)\.gn\.(.*)', r'project.\1.1.\2'),
    (r'level_encoding\.weight', r'level_embedding'),
    *below(LAYER, r'layers.\1.', DEFORMABLE),
    (LAYER + r'norms\.0\.(.*)', r'layers.\1.attention_norm.\2'),
    (LAYER + r'ffn\.layers\.0\.0\.(.*)', r'layers.\1.mlp.0.\2'),
    (LAYER + r'ffn\.layers\.1\.(.*)', r'layers.\1.mlp.2.\2'),
    (LAYER + r'norms\.1\.(.*)', r'layers.\1.mlp_norm.\2'),
    (r'lateral_convs\.0\.conv\.(.*)', r'lateral.0.\1'),
    (r'lateral_convs\.0\.gn\.(.*)', r'lateral.1.\1'),
    (r'output_convs\.0\.conv\.(.*)', r'join.0.\1'),
    (r'output_convs\.0\.gn\.(.*)', r'join.1.\1'),
    (r'mask_feature\.(.*)', r'mask_feature.\1'),
)
DECODER = r'transformer_decoder\.layers\.(\d+)\.'
DECODER_RULES: Rules = (
    (DECODER + r'cross_attn\.attn\.out_proj\.(.*)', r'layers.\1.cross.out.\2'),
    (DECODER + r'cross_attn\.attn\.(.*)', r'layers.\1.cross.\2'),
    (DECODER + r'norms\.0\.(.*)', r'layers.\1.cross_norm.\2'),
    (DECODER + r'self_attn\.attn\.out_proj\.(.*)', r'layers.\1.self_.out.\2'),
    (DECODER + r'self_attn\.attn\.(.*)', r'layers.\1.self_.\2'),
    (DECODER + r'norms\.1\.(.*)', r'layers.\1.self_norm.\2'),
    (DECODER + r'ffn\.layers\.0\.0\.(.*)', r'layers.\1.mlp.0.\2'),
    (DECODER + r'ffn\.layers\.1\.(.*)', r'layers.\1.mlp.2.\2'),
    (DECODER + r'norms\.2\.(.*)', r'layers.\1.mlp_norm.\2'),
    (r'transformer_decoder\.post_norm\.(.*)', r'norm.\1'),
    *QUERIES,
    (r'querys2feat\.(.*)', r'content.\1'),
    (r'mask_embed\.(.*)', r'mask_embedding.\1'),
    (r'cls_embed\.(.*)', r'classifier.linear.\1'),
)
RULES: Rules = (
    *below(r'pixel_decoder\.', 'pixel_decoder.', PIXEL_RULES),
    *below('', 'decoder.', DECODER_RULES),
)


def mask2former_head(weights: Weights) -> Weights:
    """`decode_head.*` of a Rein or VLTSeg checkpoint (without this prefix) to Mask2FormerHead."""
    return rename(split_attention(weights), RULES, "a Mask2Former head in mmdetection's naming")
