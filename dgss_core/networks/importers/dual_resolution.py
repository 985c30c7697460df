"""DDRNet and PIDNet in the names of OpenMMLab (mmsegmentation) and of their authors.

Complete files, to keys `encoder.*` and `head.*`. Heads that only training uses are dropped.
"""

from __future__ import annotations

from dgss_core.errors import DgssError
from dgss_core.networks.importers.keys import Rules, Weights, rename
from dgss_core.networks.importers.layers import named, numbered, plain, residual


def import_ddrnet(weights: Weights) -> Weights:
    """DDRNet: OpenMMLab's files (`backbone.*`, `decode_head.*`), or the authors' (`model.*`)."""
    return rename(_without_biases(weights, 'a DDRNet'), DDRNET, 'a DDRNet')


def import_pidnet(weights: Weights) -> Weights:
    """PIDNet: OpenMMLab's files (`backbone.*`, `decode_head.*`), or the authors' (`model.*`)."""
    return rename(_without_biases(weights, 'a PIDNet'), PIDNET, 'a PIDNet')


def _without_biases(weights: Weights, source: str) -> Weights:
    """Weights without the prefix `model.`, and without biases in the authors' stem.

    A norm follows each of its two convolutions and takes the bias into its mean.
    """
    weights = {key.removeprefix('model.'): value for key, value in weights.items()}
    for conv, norm in (('conv1.0', 'conv1.1'), ('conv1.3', 'conv1.4')):
        bias, mean = f'{conv}.bias', f'{norm}.running_mean'
        if f'{conv}.weight' in weights and mean in weights:
            if bias not in weights:
                raise DgssError(
                    f'This is not {source}: {bias} is missing; check that the file and the model '
                    'name belong together.'
                )
            weights[mean] = weights[mean] - weights.pop(bias)
    return weights


_MMSEG: Rules = (
    *named({f'backbone.stem.{i}': f'encoder.stem.{i}' for i in (0, 1)}),
    *residual({'backbone.stem': 'encoder.stem'}),
    *named(
        {f'backbone.compression_{i}': f'encoder.compress.{i - 1}' for i in (1, 2)}
        | {f'backbone.spp.scales.{i}.1': f'encoder.pyramid.scales.{i}' for i in range(1, 5)}
        | {f'backbone.spp.processes.{i}': f'encoder.pyramid.smooth.{i}' for i in range(4)}
        | {
            'backbone.spp.scales.0': 'encoder.pyramid.scales.0',
            'backbone.spp.processes': 'encoder.pyramid.smooth',
            'backbone.spp.compression': 'encoder.pyramid.compress',
            'backbone.spp.shortcut': 'encoder.pyramid.shortcut',
        }
    ),
    *plain({'decode_head.conv_seg': 'head.classify'}),
)
_AUTHORS: Rules = (
    *numbered({'conv1': 'encoder.stem.0'}, conv=0, bn=1),
    *numbered({'conv1': 'encoder.stem.1'}, conv=3, bn=4),
    *residual({'layer1': 'encoder.stem.2', 'layer2': 'encoder.stem.4'}),
    *numbered({f'compression{i + 3}': f'encoder.compress.{i}' for i in (0, 1)}, conv=0, bn=1),
    *numbered({f'spp.scale{i}': f'encoder.pyramid.scales.{i}' for i in range(1, 5)}, conv=3, bn=1),
    *numbered(
        {f'spp.process{i + 1}': f'encoder.pyramid.smooth.{i}' for i in range(4)}
        | {
            'spp.scale0': 'encoder.pyramid.scales.0',
            'spp.scale_process': 'encoder.pyramid.smooth',
            'spp.compression': 'encoder.pyramid.compress',
            'spp.shortcut': 'encoder.pyramid.shortcut',
        },
        conv=2,
        bn=0,
    ),
    *plain(
        {
            'final_layer.bn1': 'head.decode.0.bn',
            'final_layer.conv1': 'head.decode.0.conv',
            'final_layer.bn2': 'head.decode.1',
            'final_layer.conv2': 'head.classify',
        }
    ),
    (r'seghead_(extra|p|d)\..*', ''),
    # Class weights of the losses, which the authors save with the network.
    (r'(sem_)?loss\.criterion\.weight', ''),
)
DDRNET: Rules = (
    *_MMSEG,
    *residual(
        {
            'backbone.context_branch_layers': 'encoder.context',
            'backbone.spatial_branch_layers': 'encoder.spatial',
        }
    ),
    *named({'backbone.down_1': 'encoder.down.0.0', 'decode_head.head.0': 'head.decode.0'}),
    *named({f'backbone.down_2.{i}': f'encoder.down.1.{i}' for i in (0, 1)}),
    *plain({'decode_head.head.1': 'head.decode.1'}),
    (r'decode_head\.aux_(head|cls_seg)\..*', ''),
    *_AUTHORS,
    *residual({f'layer{i + 3}': f'encoder.context.{i}' for i in range(3)}),
    *residual({f'layer{i + 3}_': f'encoder.spatial.{i}' for i in range(3)}),
    *numbered({'down3': 'encoder.down.0.0', 'down4': 'encoder.down.1.0'}, conv=0, bn=1),
    *numbered({'down4': 'encoder.down.1.1'}, conv=3, bn=4),
)
_BOUNDARY = (
    # A block alone (all of PIDNet-L but the last), or a stage of one block.
    *((f'backbone.d_branch_layers.{i}', f'encoder.boundary.{i}') for i in range(3)),
    *((f'layer{i + 3}_d', f'encoder.boundary.{i}') for i in range(3)),
)
PIDNET: Rules = (
    *residual({f'{theirs}.0': ours for theirs, ours in _BOUNDARY}),
    *residual(dict(_BOUNDARY)),
    *_MMSEG,
    *residual(
        {
            'backbone.i_branch_layers': 'encoder.context',
            'backbone.p_branch_layers': 'encoder.detail',
        }
    ),
    *named({f'backbone.diff_{i}': f'encoder.difference.{i - 1}' for i in (1, 2)}),
    *named({f'backbone.pag_{i}.f_p': f'encoder.guide.{i - 1}.of_detail' for i in (1, 2)}),
    *named({f'backbone.pag_{i}.f_i': f'encoder.guide.{i - 1}.of_context' for i in (1, 2)}),
    *named(
        {
            'backbone.dfm.f_p': 'encoder.fuse.of_detail',
            'backbone.dfm.f_i': 'encoder.fuse.of_context',
            'backbone.dfm.conv': 'encoder.fuse.conv',
            'decode_head.i_head.conv': 'head.decode.0',
        }
    ),
    *plain({'decode_head.i_head.norm': 'head.decode.1'}),
    (r'decode_head\.[pd]_(head|cls_seg)\..*', ''),
    *_AUTHORS,
    *residual({f'layer{i + 3}': f'encoder.context.{i}' for i in range(3)}),
    *residual({f'layer{i + 3}_': f'encoder.detail.{i}' for i in range(3)}),
    *numbered(
        {f'diff{i + 3}': f'encoder.difference.{i}' for i in (0, 1)}
        | {f'pag{i + 3}.f_x': f'encoder.guide.{i}.of_detail' for i in (0, 1)}
        | {f'pag{i + 3}.f_y': f'encoder.guide.{i}.of_context' for i in (0, 1)}
        | {'dfm.conv_p': 'encoder.fuse.of_detail', 'dfm.conv_i': 'encoder.fuse.of_context'},
        conv=0,
        bn=1,
    ),
    *numbered({'dfm.conv': 'encoder.fuse.conv'}, conv=2, bn=0),
)
