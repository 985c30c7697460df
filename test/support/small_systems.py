"""Every system at a reduced size, for tests of the networks and of export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from dgss_core.labels import LabelSet
from dgss_core.networks.adapters.reins import Reins
from dgss_core.networks.encoders import Encoder, build_encoder
from dgss_core.networks.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD
from dgss_core.networks.heads.eomt import EomtHead
from dgss_core.networks.heads.mask2former import Mask2FormerHead
from dgss_core.networks.heads.query import QueryHead
from dgss_core.networks.systems import SYSTEMS, SegmentationModel, build_system
from dgss_core.networks.systems.dgss import dgss_light, dgss_vit

VIT = {'width': 32, 'depth': 4, 'heads': 2, 'taps': (0, 1, 2, 3), 'image_size': 64}
CLIP_RESNET = {'layers': (1, 1, 1, 2), 'width': 8}
MIT = {'widths': (8, 16, 24, 32), 'depths': (1, 1, 1, 2), 'heads': (1, 2, 3, 4), 'mlp_ratio': 2}
TWO_BLOCKS = {**VIT, 'depth': 2, 'taps': (0, 1), 'pyramid': 'none'}
SWIN = {'width': 8, 'depths': (2, 1, 1, 1), 'heads': (1, 2, 2, 4), 'window': 3}
ENCODERS = {
    'clip-rn50': CLIP_RESNET,
    'clip-rn101': CLIP_RESNET,
    'clip-convnext-l': {'dims': (8, 16, 24, 32), 'depths': (1, 1, 1, 1)},
    'convnext-l': {'dims': (8, 16, 24, 32), 'depths': (1, 1, 1, 1)},
    'resnet50': {'layers': (1, 1, 1, 1), 'channels': (8, 16, 24, 32)},
    'sam-h': {**VIT, 'window': 3},
    'mobilenetv2': {},
    **dict.fromkeys((f'mit-b{i}' for i in range(6)), MIT),
    **dict.fromkeys(('swin-t', 'swin-s', 'swin-b', 'swin-l'), SWIN),
    **{f'dinov2-reg4-{size}': {**VIT, 'taps': (1,), 'registers': 4} for size in 'sbl'},
    **{f'pidnet-{size}': {'width': 4, 'pooled': 8} for size in 'sml'},
    'ddrnet-23-slim': {'width': 4, 'pooled': 8},
    'ddrnet-23': {'width': 4, 'pooled': 8},
    'bisenetv2': {'detail': (8, 8, 16), 'semantic': (4, 8, 8, 16)},
}
MASK2FORMER = {
    'width': 16,
    'mask_width': 16,
    'groups': 4,
    'encoder_layers': 1,
    'encoder_heads': 2,
    'encoder_hidden': 16,
    'decoder_layers': 3,
    'decoder_heads': 2,
    'decoder_hidden': 16,
}
SIZES = {
    'famix': {'width': 16, 'detail': 8},
    'rein': {**MASK2FORMER, 'tokens': 12, 'rank': 4},
    'vltseg': {**MASK2FORMER, 'queries': 12},
    'clouds': {**MASK2FORMER, 'queries': 12},
    'soma': {**MASK2FORMER, 'queries': 12, 'rank': 4},
    'eomt': {'blocks': 2, 'queries': 12},
    'mask2former': {**MASK2FORMER, 'queries': 12},
    'segformer': {'width': 16},
    **{name: {'width': 16} for name in ('pidnet', 'ddrnet', 'bisenetv2')},
    'dgss': {'width': 32, 'groups': 4, 'rank': 4},
    'dgss-query': {'queries': 12, 'rank': 4},
}


OTHER_SIZES = {
    *(f'eomt-dinov2-{size}' for size in 'bl'),
    *(f'mask2former-swin-{size}' for size in 'sbl'),
    *(f'segformer-b{size}' for size in range(1, 6)),
}
"""Systems that are equal to another one at the reduced size."""
DISTINCT = [name for name in SYSTEMS if name not in OTHER_SIZES]
WHOLE = {
    *('famix-rn50', 'famix-rn101', 'rein-dinov2-s', 'rein-dinov2-b', 'rein-dinov2-l'),
    *('eomt-dinov2-s', 'segformer-b0', 'pidnet-s', 'ddrnet-23-slim', 'bisenetv2'),
    *('dgss-dinov2-s', 'dgss-dinov2-b', 'dgss-dinov2-l', 'dgss-clip-l', 'dgss-mobilenetv2'),
    *('dgss-dinov2-s-query', 'dgss-dinov2-b-query', 'dgss-dinov2-l-query'),
}
"""Systems that hold every head once. The others take up to a minute each to export."""
ENCODERS_ALONE = {
    'resnet50': ENCODERS['resnet50'],
    'convnext-l': ENCODERS['convnext-l'],
    # At the mean of convnext-l it has the same graph.
    'clip-convnext-l': {**ENCODERS['clip-convnext-l'], 'mean': IMAGENET_MEAN, 'std': IMAGENET_STD},
    'eva02-l': TWO_BLOCKS,
    'eva02-clip-l': {**VIT, 'pyramid': 'learned'},
    # Of each two blocks, the first works in windows, which do not divide the map.
    'sam-h': {**TWO_BLOCKS, 'depth': 8, 'window': 4},
    'swin-t': {**SWIN, 'depths': (2, 1), 'heads': (1, 2)},
}
"""Encoders of the other systems with their options, as names of systems with a light head."""
FEWER_BLOCKS = {
    'ViT conv': TWO_BLOCKS,
    'query': {'depth': 2, 'taps': (0,)},
    'EoMT': {'depth': 3, 'taps': (0,)},
    'all-MLP': {'depths': (1, 1, 1, 1)},
    'PIDNet': {'stem_blocks': 1, 'branch_blocks': 1},
}
"""Options of the encoder by the head of a system, where blocks that are alike take long."""
EXPORTED = [
    *(name if name in WHOLE else pytest.param(name, marks=pytest.mark.slow) for name in DISTINCT),
    *ENCODERS_ALONE,
]
"""The systems and encoders as parameters of a test that exports them."""


def small(
    name: str, encoder_options: Mapping[str, Any] | None = None, **sizes
) -> SegmentationModel:
    """`encoder_options` and `sizes` replace the usual ones of the reduced size."""
    torch.manual_seed(0)
    if name in ENCODERS_ALONE:
        return _with_light_head(build_encoder(name, **ENCODERS_ALONE[name]))
    encoder = ENCODERS.get(SYSTEMS[name].encoder, VIT)
    usual = {'width': 16} if name == 'dgss-mobilenetv2' else SIZES[name.split('-')[0]]
    if name.endswith('-query'):
        encoder, usual = {**VIT, 'taps': (2,)}, SIZES['dgss-query']
    encoder = {**encoder, **(encoder_options or {})}
    return build_system(name, encoder_options=encoder, **{**usual, **sizes})


def _with_light_head(encoder: Encoder) -> SegmentationModel:
    labels = LabelSet.load('cityscapes19')
    if 4 in encoder.strides:
        return dgss_light(encoder, labels, width=16)
    return dgss_vit(encoder, labels, adapter='full', width=32, groups=4)


def loud(name: str, frames: torch.Tensor) -> SegmentationModel:
    """A small random model whose masks of `frames` hold several classes.

    It has few blocks, and Mask2Former one layer of its decoder: they are alike, and each takes
    seconds to export.
    """
    head = SYSTEMS[name].head if name in SYSTEMS else ''
    one_layer = {'decoder_layers': 1} if head == 'Mask2Former' else {}
    model = small(name, FEWER_BLOCKS.get(head), **one_layer).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    with torch.no_grad():
        for module in model.encoder.modules():
            if isinstance(module, Reins):
                level(model, frames, module.merge, 1)
        if isinstance(model.head, Mask2FormerHead):
            level(model, frames, model.head.pixel_decoder.mask_feature, 1)
            decoder = model.head.decoder
            level_queries(model, frames, decoder.mask_embedding[-1], decoder.classifier.linear)
        elif isinstance(model.head, EomtHead):
            level_queries(model, frames, model.head.mask_embedding[-1], model.head.classify)
        elif isinstance(model.head, QueryHead):
            level(model, frames, model.head.mask_embedding[-1], 2)
            level(model, frames, model.head.classify, 4)
            model.head.classify.bias[-1] -= 8
        else:
            last = [m for m in model.head.modules() if isinstance(m, nn.Conv2d)][-1]
            level(model, frames, last, 3)
    return model


def level_queries(
    model: SegmentationModel, frames: torch.Tensor, masks: nn.Linear, classes: nn.Linear
) -> None:
    level(model, frames, masks, 0.5)
    level(model, frames, classes, 4)
    # If hardly any query predicted an object, rounding would decide the class.
    classes.bias[-1] -= 8


def level(model: SegmentationModel, frames: torch.Tensor, layer: nn.Module, spread: float) -> None:
    """Scale `layer` so that each output channel has mean 0 and standard deviation `spread`."""
    seen = []
    hook = layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model(frames)
    hook.remove()
    channels = 1 if isinstance(layer, nn.Conv2d) else -1
    rows = seen[-1].movedim(channels, 0).flatten(1)
    std, mean = torch.std_mean(rows, dim=1)
    layer.weight.mul_((spread / std).view(-1, *[1] * (layer.weight.ndim - 1)))
    layer.bias.sub_(mean).mul_(spread / std)
