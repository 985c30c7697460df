"""Common tests of every useful pair of encoder and head."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from contract import ModelContract, check_export
from torch import nn

from dgss_core.labels import LabelSet
from dgss_core.networks.adapters.freezing import freeze
from dgss_core.networks.encoders import Encoder
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.encoders.mobilenetv2 import MobileNetV2
from dgss_core.networks.encoders.stages import StagedEncoder
from dgss_core.networks.encoders.vits import clip_vit, dinov2, eva02, sam, siglip
from dgss_core.networks.heads.deeplab import DeepLabHead
from dgss_core.networks.heads.eomt import split_off_head
from dgss_core.networks.heads.light_conv import LightConvHead
from dgss_core.networks.heads.linear import LinearHead
from dgss_core.networks.heads.mask2former import Mask2FormerHead
from dgss_core.networks.heads.vit_conv import VitConvHead
from dgss_core.networks.losses.set_criterion import SetCriterion
from dgss_core.networks.systems import SegmentationModel

CITYSCAPES = LabelSet.load('cityscapes19')
SMALL = {'width': 16, 'depth': 4, 'heads': 2, 'image_size': 64}
PYRAMIDS: dict[str, Callable[..., Encoder]] = {
    'dinov2': partial(dinov2, **SMALL),
    'clip-vit': partial(clip_vit, **SMALL),
    'siglip': partial(siglip, **SMALL),
    'eva02': partial(eva02, **SMALL),
    'sam': partial(sam, **SMALL, window=3),
    'clip-resnet': partial(ClipResNet, (1, 1, 1, 2), width=8),
    'resnet': partial(StagedEncoder, 'resnet10t', size_multiple=1, channels=(8, 16, 24, 32)),
    'convnext': partial(
        StagedEncoder,
        'convnext_atto',
        size_multiple=32,
        depths=(1, 1, 1, 1),
        dims=(8, 16, 24, 32),
    ),
    'mobilenetv2': MobileNetV2,
}
LEARNED = {'eva02-clip-14': partial(eva02, **SMALL, patch=14, inner_norm=True, pyramid='learned')}
LAST_STAGE_DILATED = {
    'clip-resnet-16': partial(ClipResNet, (1, 1, 1, 2), width=8, output_stride=16)
}
ONE_SCALE = {
    f'{name}-one-scale': partial(PYRAMIDS[name], pyramid='none') for name in list(PYRAMIDS)[:5]
}
ONE_TAP = {
    name: partial(PYRAMIDS[name], pyramid='none', taps=(1,))
    for name in ('dinov2', 'clip-vit', 'siglip', 'eva02')
}


def light(encoder: Encoder) -> nn.Module:
    return LightConvHead(encoder.channels, encoder.strides, 19, width=16)


def linear(encoder: Encoder) -> nn.Module:
    return LinearHead(encoder.channels, encoder.strides, 19)


def deeplab(encoder: Encoder) -> nn.Module:
    return DeepLabHead(encoder.channels, encoder.strides, 19, width=16, detail=8)


def mask2former(encoder: Encoder) -> nn.Module:
    return Mask2FormerHead(
        encoder.channels,
        encoder.strides,
        19,
        width=16,
        mask_width=16,
        queries=8,
        groups=4,
        encoder_layers=1,
        encoder_heads=2,
        encoder_hidden=16,
        decoder_layers=2,
        decoder_heads=2,
        decoder_hidden=16,
        criterion=SetCriterion(points=128),
    )


def vit_conv(encoder: Encoder) -> nn.Module:
    return VitConvHead(encoder.channels, encoder.strides, 19, width=16, groups=4)


def eomt(encoder: Encoder) -> nn.Module:
    return split_off_head(encoder, 19, blocks=2, queries=8, criterion=SetCriterion(points=128))


PAIRS: dict[str, tuple[Callable[..., Encoder], Callable[[Encoder], nn.Module]]] = {
    f'{name} {head.__name__}': (build, head)
    for encoders, heads in (
        (PYRAMIDS, (light, linear, deeplab, mask2former)),
        # DeepLab reads two of four maps, so half of a learned pyramid would not be trained.
        (LEARNED, (light, linear, mask2former)),
        (LAST_STAGE_DILATED, (linear, deeplab)),
        (ONE_SCALE, (linear, vit_conv)),
        (ONE_TAP, (eomt,)),
    )
    for name, build in encoders.items()
    for head in heads
}


GOLDEN = {
    'dinov2 light': (1.1577, -0.3314, -0.4613, 1.5319),
    'dinov2 linear': (-0.9491, -4.4319, -2.0520, 2.3009),
    'dinov2 deeplab': (-0.5660, 0.7303, 0.1905, 0.9885),
    'dinov2 mask2former': (1.5928, 1.7811, 0.1124, 0.5670),
    'clip-vit light': (-1.2231, 1.6441, -1.2814, 1.4132),
    'clip-vit linear': (0.4985, -2.0274, 0.7460, 2.6371),
    'clip-vit deeplab': (-0.8261, -0.8805, 0.8615, 0.7989),
    'clip-vit mask2former': (0.7737, 0.1538, 0.1529, 0.3585),
    'siglip light': (1.6521, -0.0660, 1.0622, 0.7894),
    'siglip linear': (0.5488, 1.0185, 0.8795, 2.4229),
    'siglip deeplab': (1.1838, 0.7611, 0.9103, 0.7438),
    'siglip mask2former': (0.1429, 0.3775, 0.1967, 0.3050),
    'eva02 light': (0.9907, -2.3053, 2.9061, 1.2998),
    'eva02 linear': (-6.0317, 1.9441, 4.1223, 2.7123),
    'eva02 deeplab': (2.2232, -0.2658, 2.3569, 1.0308),
    'eva02 mask2former': (0.0491, 0.0019, 0.0803, 0.2953),
    'sam light': (0.0867, 1.0954, -3.4808, 1.7899),
    'sam linear': (0.6867, -2.4726, -2.9547, 2.2902),
    'sam deeplab': (-0.3668, 0.2413, 0.9458, 0.9324),
    'sam mask2former': (0.6115, 0.2575, 0.0484, 0.3261),
    'eva02-clip-14 light': (-0.7482, -0.3944, 1.4714, 1.2500),
    'eva02-clip-14 linear': (3.5178, 1.6892, -3.3927, 3.3212),
    'eva02-clip-14 mask2former': (0.4103, 0.0823, 0.2768, 0.2860),
    'clip-resnet light': (-0.1362, 0.2922, 0.1104, 0.2224),
    'clip-resnet linear': (-0.0758, -0.0955, -0.1400, 0.3339),
    'clip-resnet deeplab': (-0.1090, -0.2568, -0.2061, 0.2238),
    'clip-resnet mask2former': (0.1888, 2.4653, 0.5552, 0.5464),
    'resnet light': (0.6163, 1.5951, -0.1571, 1.6608),
    'resnet linear': (1.7073, 1.6760, -0.4702, 1.8118),
    'resnet deeplab': (1.1495, -0.0873, 1.0867, 1.3596),
    'resnet mask2former': (0.5782, 1.2058, 0.0290, 0.2596),
    'convnext light': (-1.5600, -1.0716, 0.2432, 1.3113),
    'convnext linear': (-2.1001, 1.7218, 1.1496, 1.4402),
    'convnext deeplab': (0.0057, 0.3477, -1.0705, 1.1275),
    'convnext mask2former': (0.0458, 0.0548, 0.1326, 0.5383),
    'mobilenetv2 light': (0.6828, -0.2307, 1.2813, 0.5285),
    'mobilenetv2 linear': (1.3994, 0.4697, 0.6833, 1.9082),
    'mobilenetv2 deeplab': (-0.0361, 0.2678, 0.5001, 0.3920),
    'mobilenetv2 mask2former': (0.0396, 0.0137, 0.0202, 0.2684),
    'clip-resnet-16 linear': (1.0754, -0.0844, 0.0725, 0.3422),
    'clip-resnet-16 deeplab': (-0.1134, -0.2534, -0.2147, 0.2298),
    'dinov2-one-scale linear': (-4.4896, -4.8694, 2.5548, 3.2300),
    'dinov2-one-scale vit_conv': (-0.3322, 0.0065, 0.2581, 0.2253),
    'clip-vit-one-scale linear': (-1.8258, 3.6193, 0.9749, 3.3433),
    'clip-vit-one-scale vit_conv': (-0.1381, -0.0581, -0.0302, 0.2313),
    'siglip-one-scale linear': (-0.6750, 1.3865, 5.8507, 3.0553),
    'siglip-one-scale vit_conv': (-0.0158, 0.1605, 0.2028, 0.2510),
    'eva02-one-scale linear': (2.1870, -1.9295, 3.2657, 4.7027),
    'eva02-one-scale vit_conv': (-0.0855, 0.1553, 0.0138, 0.2590),
    'sam-one-scale linear': (-2.5629, 6.1169, 4.1963, 3.3907),
    'sam-one-scale vit_conv': (0.0022, -0.0134, -0.1495, 0.2289),
    'dinov2 eomt': (0.0977, 0.0100, 0.0073, 0.2332),
    'clip-vit eomt': (0.7016, 0.0680, 0.0210, 0.1873),
    'siglip eomt': (0.0640, 0.0079, 0.0100, 0.3262),
    'eva02 eomt': (1.3114, 0.1799, 0.2475, 0.2913),
}


@pytest.mark.parametrize('name', PAIRS)
class TestPairs(ModelContract):
    golden = GOLDEN

    def build(self, name: str) -> SegmentationModel:
        build, make_head = PAIRS[name]
        encoder = build()
        head = make_head(encoder)
        freeze(encoder, 'last_stage')
        return SegmentationModel(encoder, head, CITYSCAPES)

    def test_the_head_and_the_last_stage_are_trained(self, name):
        model = self.build(name)
        last = {id(p) for module in model.encoder.trunk()[-1] for p in module.parameters()}
        trained = {key for key, p in model.named_parameters() if p.requires_grad}
        expected = {
            key
            for key, p in model.named_parameters()
            if key.startswith(('head.', 'encoder.pyramid.')) or id(p) in last
        }
        assert trained == expected
        assert any(key.startswith('encoder.') for key in trained)


# Encoders and heads are traced one after the other: what a pair adds is the number, width and
# stride of the maps between them. Each head with one encoder of every kind, each encoder with the
# largest head. test_export_systems.py exports every encoder and head to a file.
TRACED = [
    name
    for name in PAIRS
    if name.endswith((' mask2former', ' eomt', ' vit_conv')) or name.startswith('dinov2 ')
]


@pytest.mark.parametrize(
    'name',
    [name if name in TRACED else pytest.param(name, marks=pytest.mark.slow) for name in PAIRS],
)
def test_exports_to_one_graph(name: str) -> None:
    check_export(TestPairs().build(name))
