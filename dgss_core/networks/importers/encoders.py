"""Published encoder weights, renamed to `dgss_core.networks.encoders`.

Pure functions from state dict to state dict. Each knows every key of its source, including the
keys it drops (classifiers, final norms, tables that are computed here), and raises DgssError for
any other key.
"""

from __future__ import annotations

from collections.abc import Sequence

from dgss_core.errors import DgssError
from dgss_core.networks.importers.keys import Rules, Weights, rename, take_prefix

BLOCK = r'blocks\.(\d+)'
EMBED: Rules = (
    (r'patch_embed\.proj\.(weight|bias)', r'embed.proj.\1'),
    (r'cls_token', 'embed.class_token'),
    (r'reg_token|register_tokens|storage_tokens', 'embed.registers'),
    (r'pos_embed', 'embed.table'),
    (r'(norm|fc_norm|head|attn_pool)\..*|mask_token', ''),
)
BLOCKS: Rules = (
    (BLOCK + r'\.(norm[12])\.(weight|bias)', r'blocks.\1.\2.\3'),
    (BLOCK + r'\.attn\.(qkv|q|k|v|proj)\.(weight|bias)', r'blocks.\1.attention.\2.\3'),
    (BLOCK + r'\.mlp\.(fc[12])\.(weight|bias)', r'blocks.\1.mlp.\2.\3'),
    (BLOCK + r'\.ls([12])\.gamma', r'blocks.\1.scale\2.gamma'),
)
CLIP: Rules = (
    (r'class_embedding', 'embed.class_token'),
    (r'positional_embedding', 'embed.table'),
    (r'conv1\.weight', 'embed.proj.weight'),
    (r'ln_pre\.(weight|bias)', r'first_norm.\1'),
    (r'transformer\.resblocks\.(\d+)\.ln_([12])\.(weight|bias)', r'blocks.\1.norm\2.\3'),
    (
        r'transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)',
        r'blocks.\1.attention.qkv.\2',
    ),
    (
        r'transformer\.resblocks\.(\d+)\.attn\.out_proj\.(weight|bias)',
        r'blocks.\1.attention.proj.\2',
    ),
    (r'transformer\.resblocks\.(\d+)\.mlp\.c_fc\.(weight|bias)', r'blocks.\1.mlp.fc1.\2'),
    (r'transformer\.resblocks\.(\d+)\.mlp\.c_proj\.(weight|bias)', r'blocks.\1.mlp.fc2.\2'),
    (r'ln_post\..*|proj', ''),
)
DINOV3: Rules = (
    # Wavelengths of the rotation, and which biases are in use: those of keys are not.
    (r'rope_embed\.periods|' + BLOCK + r'\.attn\.qkv\.bias_mask', ''),
    *EMBED,
    *BLOCKS,
    (BLOCK + r'\.attn\.([qv])_bias', r'blocks.\1.attention.\2.bias'),
    (BLOCK + r'\.gamma_([12])', r'blocks.\1.scale\2.gamma'),
)
EVA02: Rules = (
    # Tables of the rotation: computed here for any grid.
    (r'(blocks\.\d+\.attn\.)?rope\.freqs_(cos|sin)', ''),
    # The head of masked image modelling, in files that were not trained further.
    (r'lm_head\.(weight|bias)', ''),
    *EMBED,
    (BLOCK + r'\.(norm[12])\.(weight|bias)', r'blocks.\1.\2.\3'),
    (BLOCK + r'\.attn\.([qkv])_proj\.(weight|bias)', r'blocks.\1.attention.\2.\3'),
    (BLOCK + r'\.attn\.([qv])_bias', r'blocks.\1.attention.\2.bias'),
    (BLOCK + r'\.attn\.proj\.(weight|bias)', r'blocks.\1.attention.proj.\2'),
    (BLOCK + r'\.attn\.(?:inner_attn_ln|norm)\.(weight|bias)', r'blocks.\1.attention.norm.\2'),
    (BLOCK + r'\.mlp\.(w[123])\.(weight|bias)', r'blocks.\1.mlp.\2.\3'),
    (BLOCK + r'\.mlp\.(?:ffn_ln|norm)\.(weight|bias)', r'blocks.\1.mlp.norm.\2'),
    (BLOCK + r'\.mlp\.fc1_g\.(weight|bias)', r'blocks.\1.mlp.w1.\2'),
    (BLOCK + r'\.mlp\.fc1_x\.(weight|bias)', r'blocks.\1.mlp.w2.\2'),
    (BLOCK + r'\.mlp\.fc2\.(weight|bias)', r'blocks.\1.mlp.w3.\2'),
    (BLOCK + r'\.gamma_([12])', r'blocks.\1.scale\2.gamma'),
    (r'fpn1\.(\d)\.(\w+)', r'pyramid.up4.\1.\2'),
    (r'fpn2\.0\.(weight|bias)', r'pyramid.up2.\1'),
)


def last_norm(weights: Weights) -> Weights:
    """`weight` and `bias` of the norm behind the last block of a plain ViT; empty if it has none.

    The encoders here have no such norm; EoMT reads its predictions behind it.
    """
    keys = {part: f'norm.{part}' for part in ('weight', 'bias')}
    if not weights.keys() >= {*keys.values()}:
        return {}
    return {part: weights[key] for part, key in keys.items()}


def import_dinov2(weights: Weights) -> Weights:
    """DINOv2: the official files, timm's files, or Rein's converted base file (same names).

    With registers, official files have a row of the position table for the class token; timm has
    added it to the token.
    """
    source = 'a DINOv2 encoder'
    _require(weights, ('cls_token', 'pos_embed', 'patch_embed.proj.bias'), source)
    # Some files group blocks in chunks: blocks.<chunk>.<block>.
    chunked = tuple((rule.replace(BLOCK, r'blocks\.\d+\.(\d+)'), new) for rule, new in BLOCKS)
    renamed = split_qkv(rename(weights, (*EMBED, *BLOCKS, *chunked), source))
    if 'register_tokens' in weights:
        row, renamed['embed.table'] = renamed['embed.table'].tensor_split([1], dim=1)
        renamed['embed.class_token'] = renamed['embed.class_token'] + row
    return renamed


def import_dinov3(weights: Weights, head_width: int = 64) -> Weights:
    """DINOv3's plain ViTs: the official files or timm's files.

    The channels of queries and keys are interleaved, as `Rotation` expects; the publishers rotate
    channel i with channel i + `head_width` / 2.
    """
    source = 'a DINOv3 ViT'
    _require(weights, ('cls_token', 'patch_embed.proj.bias', 'blocks.0.attn.qkv.weight'), source)
    renamed = split_qkv(rename(weights, DINOV3, source))
    pairs = (-1, 2, head_width // 2)
    imported: Weights = {}
    for key, value in renamed.items():
        if '.attention.q.' in key or '.attention.k.' in key:
            value = value.unflatten(0, pairs).transpose(1, 2).flatten(0, 2)
        if not key.endswith('.attention.k.bias'):
            imported[key] = value
        if key.endswith(('.attention.q.weight', '.attention.v.weight')):
            # Files without biases have none to add.
            bias = f'{key.removesuffix("weight")}bias'
            imported.setdefault(bias, value.new_zeros(len(value)))
    return imported


def import_siglip(weights: Weights) -> Weights:
    """SigLIP: timm's files, or open_clip's image tower (`visual.trunk.*`)."""
    source = 'a SigLIP encoder'
    weights = _below(weights, ('visual.trunk.', 'trunk.'))
    _require(weights, ('pos_embed', 'patch_embed.proj.bias'), source)
    return split_qkv(rename(weights, (*EMBED, *BLOCKS), source))


def import_sam(weights: Weights) -> Weights:
    """SAM's image encoder: the official files (`image_encoder.*`) or timm's files."""
    source = "SAM's image encoder"
    weights = _below(weights, ('image_encoder.',))
    _require(weights, ('pos_embed', 'blocks.0.attn.rel_pos_h'), source)
    rules = (
        *EMBED,
        (r'neck\..*', ''),
        *BLOCKS,
        (BLOCK + r'\.mlp\.lin([12])\.(weight|bias)', r'blocks.\1.mlp.fc\2.\3'),
        (BLOCK + r'\.attn\.rel_pos_h', r'blocks.\1.attention.positions.rows'),
        (BLOCK + r'\.attn\.rel_pos_w', r'blocks.\1.attention.positions.columns'),
    )
    renamed = split_qkv(rename(weights, rules, source))
    return renamed | {'embed.table': renamed['embed.table'].flatten(1, 2)}


def import_clip_vit(weights: Weights, class_embedding_twice: bool = False) -> Weights:
    """CLIP's image transformer in the names of OpenAI and open_clip (with or without `visual.`),
    or of timm.

    Rein's CLIP adds the class embedding twice. `class_embedding_twice=True` doubles the embedding
    to the same effect; weights trained on Rein's CLIP need it.
    """
    source = "CLIP's image transformer"
    weights = _below(weights, ('visual.',))
    if 'patch_embed.proj.weight' in weights:
        rules: Rules = (*EMBED, *BLOCKS, (r'norm_pre\.(weight|bias)', r'first_norm.\1'))
        _require(weights, ('cls_token', 'pos_embed', 'norm_pre.weight'), source)
    else:
        rules = CLIP
        _require(weights, ('class_embedding', 'positional_embedding', 'conv1.weight'), source)
    renamed = split_qkv(rename(weights, rules, source))
    token, table = renamed['embed.class_token'], renamed['embed.table']
    renamed['embed.class_token'] = token.reshape(1, 1, -1) * (2 if class_embedding_twice else 1)
    renamed['embed.table'] = table.reshape(1, *table.shape[-2:])
    return renamed


def import_eva02(weights: Weights, drop_inner_norm: bool = False) -> Weights:
    """EVA-02 and EVA-02-CLIP: the official names (with or without `visual.`), timm's names, and
    the encoders in the files of Rein and VLTSeg (VLTSeg's with its pyramid).

    `drop_inner_norm=True` drops the norm inside the attention of EVA-02-CLIP, as VLTSeg does.
    """
    source = 'an EVA-02 encoder'
    weights = _below(weights, ('visual.trunk.', 'trunk.', 'visual.'))
    _require(weights, ('cls_token', 'patch_embed.proj.weight', 'blocks.0.norm1.weight'), source)
    renamed = rename(weights, EVA02, source)
    if drop_inner_norm:
        renamed = {key: v for key, v in renamed.items() if '.attention.norm.' not in key}
    return renamed


def import_clip_resnet(weights: Weights, attention_pool: bool = False) -> Weights:
    """CLIP's ModifiedResNet in the names of OpenAI and open_clip (with or without `visual.`).

    `attention_pool=False` drops the pool behind layer4.
    """
    source = "CLIP's ResNet"
    weights = _below(weights, ('visual.',))
    _require(weights, ('conv3.weight', 'bn3.weight', 'layer4.0.conv1.weight'), source)
    rules = (
        (r'((?:conv[123]|bn[123]|layer[1-4])\..+)', r'\1'),
        (r'(attnpool\..+)', r'\1' if attention_pool else ''),
    )
    return rename(weights, rules, source)


def import_timm_stages(weights: Weights, last_norm: bool = False) -> Weights:
    """timm's ResNet and ConvNeXt, or the ConvNeXt of an open_clip CLIP (`visual.trunk.*`).

    With `last_norm` the norm of ConvNeXt's classifier is kept, for the last map.
    """
    rules = (
        (r'head\.norm\.(.*)', r'norms.3.\1' if last_norm else ''),
        (r'(fc|head|norm|norm_pre)\..*', ''),
        (r'(stem|stages)[._](\d+)\.(.+)', r'network.\1_\2.\3'),
        (r'((?:conv1|bn1|layer[1-4])\..+)', r'network.\1'),
    )
    weights = _below(weights, ('visual.trunk.', 'trunk.'))
    return rename(weights, rules, 'a ResNet or ConvNeXt of timm')


def import_mobilenetv2(weights: Weights) -> Weights:
    """MobileNetV2 with keys `stem.*` and `b.<block>.<layer>.*`, and an expansion in block 0.

    `head.*`, the 1280-channel layer before the ImageNet classifier, is dropped.
    """
    rules = (
        (r'head\..*', ''),
        (r'(stem\..*)', r'\1'),
        (r'b\.(\d+)\.(.*)', r'blocks.\1.layers.\2'),
    )
    return rename(weights, rules, 'a MobileNetV2')


def _require(weights: Weights, keys: Sequence[str], source: str) -> None:
    missing = [key for key in keys if key not in weights]
    if missing:
        raise DgssError(
            f'This is not {source}: it lacks {", ".join(missing)}; check that the file and the '
            'model name belong together.'
        )


def _below(weights: Weights, prefixes: Sequence[str]) -> Weights:
    """Entries under the first of `prefixes` that occurs, without it; all if none occurs."""
    for prefix in prefixes:
        part = take_prefix(weights, prefix)
        if part:
            return part
    return weights


def split_qkv(weights: Weights) -> Weights:
    """Split stacked projections `<...>.qkv.<weight or bias>` into `q`, `k` and `v`."""
    cut: Weights = {}
    for key, value in weights.items():
        stem, stacked, kind = key.rpartition('.qkv.')
        if not stacked:
            cut[key] = value
            continue
        for name, part in zip('qkv', value.chunk(3), strict=True):
            cut[f'{stem}.{name}.{kind}'] = part.clone()
    return cut
