"""Mask2Former heads as mmdetection names them: Rein and VLTSeg."""

from dgss_core.networks.importers.keys import Weights, rename, split_attention

LAYER = r'pixel_decoder\.encoder\.layers\.(\d+)\.'
OURS = r'pixel_decoder.layers.\1.'
DECODER = r'transformer_decoder\.layers\.(\d+)\.'
RULES = (
    (r'pixel_decoder\.input_convs\.(\d)\.conv\.(.*)', r'pixel_decoder.project.\1.0.\2'),
    (r'pixel_decoder\.input_convs\.(\d)\.gn\.(.*)', r'pixel_decoder.project.\1.1.\2'),
    (r'pixel_decoder\.level_encoding\.weight', r'pixel_decoder.level_embedding'),
    (LAYER + r'self_attn\.sampling_offsets\.(.*)', OURS + r'attention.offsets.\2'),
    (LAYER + r'self_attn\.attention_weights\.(.*)', OURS + r'attention.weights.\2'),
    (LAYER + r'self_attn\.value_proj\.(.*)', OURS + r'attention.value.\2'),
    (LAYER + r'self_attn\.output_proj\.(.*)', OURS + r'attention.out.\2'),
    (LAYER + r'ffn\.layers\.0\.0\.(.*)', OURS + r'mlp.0.\2'),
    (LAYER + r'ffn\.layers\.1\.(.*)', OURS + r'mlp.2.\2'),
    (LAYER + r'norms\.0\.(.*)', OURS + r'attention_norm.\2'),
    (LAYER + r'norms\.1\.(.*)', OURS + r'mlp_norm.\2'),
    (r'pixel_decoder\.lateral_convs\.0\.conv\.(.*)', r'pixel_decoder.lateral.0.\1'),
    (r'pixel_decoder\.lateral_convs\.0\.gn\.(.*)', r'pixel_decoder.lateral.1.\1'),
    (r'pixel_decoder\.output_convs\.0\.conv\.(.*)', r'pixel_decoder.join.0.\1'),
    (r'pixel_decoder\.output_convs\.0\.gn\.(.*)', r'pixel_decoder.join.1.\1'),
    (r'pixel_decoder\.mask_feature\.(.*)', r'pixel_decoder.mask_feature.\1'),
    (DECODER + r'cross_attn\.attn\.out_proj\.(.*)', r'decoder.layers.\1.cross.out.\2'),
    (DECODER + r'cross_attn\.attn\.(.*)', r'decoder.layers.\1.cross.\2'),
    (DECODER + r'self_attn\.attn\.out_proj\.(.*)', r'decoder.layers.\1.self_.out.\2'),
    (DECODER + r'self_attn\.attn\.(.*)', r'decoder.layers.\1.self_.\2'),
    (DECODER + r'ffn\.layers\.0\.0\.(.*)', r'decoder.layers.\1.mlp.0.\2'),
    (DECODER + r'ffn\.layers\.1\.(.*)', r'decoder.layers.\1.mlp.2.\2'),
    (DECODER + r'norms\.0\.(.*)', r'decoder.layers.\1.cross_norm.\2'),
    (DECODER + r'norms\.1\.(.*)', r'decoder.layers.\1.self_norm.\2'),
    (DECODER + r'norms\.2\.(.*)', r'decoder.layers.\1.mlp_norm.\2'),
    (r'transformer_decoder\.post_norm\.(.*)', r'decoder.norm.\1'),
    (r'level_embed\.weight', r'decoder.level_embedding'),
    (r'query_embed\.weight', r'decoder.query_place'),
    (r'query_feat\.weight', r'decoder.query_content'),
    (r'querys2feat\.(.*)', r'decoder.content.\1'),
    (r'mask_embed\.(.*)', r'decoder.mask_embedding.\1'),
    (r'cls_embed\.(.*)', r'decoder.classifier.linear.\1'),
)


def mask2former_head(weights: Weights) -> Weights:
    """`decode_head.*` of a Rein or VLTSeg checkpoint (prefix taken off) to Mask2FormerHead."""
    return rename(split_attention(weights), RULES, "a Mask2Former head in mmdetection's naming")
