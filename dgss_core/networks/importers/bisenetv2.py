"""BiSeNetV2 in the names of OpenMMLab (mmsegmentation) and of CoinCheung.

Complete files, to keys `encoder.*` and `head.*`. Heads that only training uses are dropped.
"""

from __future__ import annotations

from dgss_core.networks.importers.keys import Rules, Weights, rename
from dgss_core.networks.importers.layers import named, numbered, plain

SEMANTIC = (2, 2, 4)
"""Layers of the stages of the semantic branch behind the stem; the first has stride 2."""


def import_bisenetv2(weights: Weights) -> Weights:
    """BiSeNetV2 of OpenMMLab: `backbone.*`, `decode_head.*`, `auxiliary_head.*`."""
    return rename(weights, MMSEG, 'a BiSeNetV2 of OpenMMLab')


def import_bisenetv2_coincheung(weights: Weights) -> Weights:
    """BiSeNetV2 of CoinCheung: `detail.*`, `segment.*`, `bga.*`, `head.*`, `aux*`."""
    renamed = rename(weights, COINCHEUNG, 'a BiSeNetV2 of CoinCheung')
    for branch in ('detail', 'semantic'):
        # A convolution of OpenMMLab has a bias here, CoinCheung's has none.
        layer = f'encoder.aggregate.{branch}.1'
        weight = renamed.get(f'{layer}.weight')
        if weight is not None:
            renamed[f'{layer}.bias'] = weight.new_zeros(len(weight))
    return renamed


def _semantic(stages: tuple[str, ...]) -> dict[str, str]:
    """Their prefix of each layer of the semantic branch -> ours."""
    return {
        f'{stage}.{i}': f'encoder.semantic.{index}.{i}'
        for index, (stage, count) in enumerate(zip(stages, SEMANTIC, strict=True))
        for i in range(count)
    }


def _below(pairs: dict[str, str], theirs: str, ours: str) -> dict[str, str]:
    return {f'{a}.{theirs}': f'{b}.{ours}' for a, b in pairs.items()}


_LAYERS = _semantic(tuple(f'backbone.semantic.stage{i}' for i in (2, 3, 4)))
MMSEG: Rules = (
    *named(
        {
            f'backbone.detail.detail_branch.{i}.{j}': f'encoder.detail.{i}.{j}'
            for i in range(3)
            for j in range(3)
        }
        | {
            'backbone.semantic.stage1.conv_first': 'encoder.stem.first',
            'backbone.semantic.stage1.convs.0': 'encoder.stem.left.0',
            'backbone.semantic.stage1.convs.1': 'encoder.stem.left.1',
            'backbone.semantic.stage1.fuse_last': 'encoder.stem.fuse',
        }
        | _below(_LAYERS, 'conv1', 'gather')
        | _below(_LAYERS, 'dwconv.0', 'expand.0')
        | _below(_LAYERS, 'dwconv.1', 'expand.1')
        | _below(_LAYERS, 'conv2.0', 'project')
        | _below(_LAYERS, 'shortcut.0.depthwise_conv', 'shortcut.0')
        | _below(_LAYERS, 'shortcut.0.pointwise_conv', 'shortcut.1')
        | {
            'backbone.semantic.stage4_CEBlock.conv_gap': 'encoder.context.embed',
            'backbone.semantic.stage4_CEBlock.conv_last': 'encoder.context.last',
            'backbone.bga.detail_dwconv.0.depthwise_conv': 'encoder.aggregate.detail.0',
            'backbone.bga.detail_down.0': 'encoder.aggregate.detail_down.0',
            'backbone.bga.semantic_conv.0': 'encoder.aggregate.semantic_up',
            'backbone.bga.semantic_dwconv.0.depthwise_conv': 'encoder.aggregate.semantic.0',
            'backbone.bga.conv': 'encoder.aggregate.fuse',
            'decode_head.convs.0': 'head.decode.0',
        }
    ),
    *plain(
        {
            'backbone.semantic.stage4_CEBlock.gap.1': 'encoder.context.norm',
            'backbone.bga.detail_dwconv.0.pointwise_conv.conv': 'encoder.aggregate.detail.1',
            'backbone.bga.semantic_dwconv.0.pointwise_conv.conv': 'encoder.aggregate.semantic.1',
            'decode_head.conv_seg': 'head.classify',
        }
    ),
    (r'auxiliary_head\.\d\..*', ''),
)
_LAYERS = _semantic(('segment.S3', 'segment.S4', 'segment.S5_4'))
COINCHEUNG: Rules = (
    *named(
        {f'detail.S{i + 1}.{j}': f'encoder.detail.{i}.{j}' for i in range(3) for j in range(3)}
        | {
            'segment.S1S2.conv': 'encoder.stem.first',
            'segment.S1S2.left.0': 'encoder.stem.left.0',
            'segment.S1S2.left.1': 'encoder.stem.left.1',
            'segment.S1S2.fuse': 'encoder.stem.fuse',
        }
        | _below(_LAYERS, 'conv1', 'gather')
        | {
            'segment.S5_5.conv_gap': 'encoder.context.embed',
            'segment.S5_5.conv_last': 'encoder.context.last',
            'head.conv': 'head.decode.0',
        }
    ),
    *numbered(
        _below(_LAYERS, 'dwconv', 'expand.0')
        | _below(_LAYERS, 'dwconv1', 'expand.0')
        | _below(_LAYERS, 'dwconv2', 'expand.1')
        | _below(_LAYERS, 'conv2', 'project')
        | _below(_LAYERS, 'shortcut', 'shortcut.0')
        | {
            'bga.left1': 'encoder.aggregate.detail.0',
            'bga.left2': 'encoder.aggregate.detail_down.0',
            'bga.right1': 'encoder.aggregate.semantic_up',
            'bga.right2': 'encoder.aggregate.semantic.0',
            'bga.conv': 'encoder.aggregate.fuse',
        },
        conv=0,
        bn=1,
    ),
    *numbered(_below(_LAYERS, 'shortcut', 'shortcut.1'), conv=2, bn=3),
    *plain(
        {
            'segment.S5_5.bn': 'encoder.context.norm',
            'bga.left1.2': 'encoder.aggregate.detail.1',
            'bga.right2.2': 'encoder.aggregate.semantic.1',
            'head.conv_out.1': 'head.classify',
        }
    ),
    (r'aux(2|3|4|5_4)\..*', ''),
)
