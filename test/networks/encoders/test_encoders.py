"""Tests of every encoder, inherited by one class per family."""

from __future__ import annotations

import pytest
import torch
from encoder_contract import EncoderContract
from formula_weights import VIT, fill, image

from dgss_core.errors import DgssError
from dgss_core.networks.adapters.freezing import freeze, kept_bytes
from dgss_core.networks.encoders import ENCODERS, build_encoder
from dgss_core.networks.encoders.bisenetv2 import BiSeNetV2
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.encoders.ddrnet import DDRNet
from dgss_core.networks.encoders.mit import MixTransformer
from dgss_core.networks.encoders.mobilenetv2 import MobileNetV2
from dgss_core.networks.encoders.pidnet import PIDNet
from dgss_core.networks.encoders.stages import StagedEncoder
from dgss_core.networks.encoders.swin import SwinTransformer
from dgss_core.networks.encoders.vits import clip_vit, dinov2, eva02, sam, siglip
from dgss_core.networks.undrawn import Undrawn


class TestDinov2(EncoderContract):
    golden = (0.288018, 0.483033, 0.731716, 0.912756)

    def build(self):
        return dinov2(**VIT)


class TestDinov2OneScale(EncoderContract):
    golden = (0.508653, 0.93172)

    def build(self):
        return dinov2(**VIT, taps=(1, 3), pyramid='none')


class TestDinov2Registers(EncoderContract):
    golden = (0.657011, 1.06633)

    def build(self):
        return dinov2(**VIT, taps=(1, 3), pyramid='none', registers=4)


class TestClipVit(EncoderContract):
    golden = (0.682319, 0.751299, 1.2385, 1.03383)

    def build(self):
        return clip_vit(**VIT)


class TestSiglip(EncoderContract):
    golden = (0.334003, 0.609822, 0.791922, 1.0037)

    def build(self):
        return siglip(**VIT)


class TestEva02(EncoderContract):
    golden = (0.286127, 0.683988, 1.08611, 1.50482)

    def build(self):
        return eva02(**VIT)


class TestEva02ClipAtPatch14(EncoderContract):
    golden = (0.0648158, 0.221144, 0.851044, 1.30252)
    even = (56, 84)

    def build(self):
        return eva02(**VIT, patch=14, inner_norm=True, pyramid='learned')


class TestSam(EncoderContract):
    golden = (0.313369, 0.540907, 0.753471, 0.995334)

    def build(self):
        return sam(**VIT, window=3)


class TestSwin(EncoderContract):
    golden = (0.790543, 0.829807, 0.825248, 0.862978)

    def build(self):
        return SwinTransformer(8, (2, 2, 1, 1), (1, 2, 2, 4), window=3)


class TestMit(EncoderContract):
    golden = (0.860736, 0.925435, 0.872832, 0.82562)

    def build(self):
        return MixTransformer((8, 16, 24, 32), (1, 1, 2, 1), (1, 2, 3, 4))


class TestClipResNet32(EncoderContract):
    golden = (0.0810924, 0.0589983, 0.143477, 0.155022)

    def build(self):
        return ClipResNet((2, 1, 3, 2), width=8)


class TestClipResNet16(EncoderContract):
    golden = (0.0810924, 0.0589983, 0.143477, 0.155451)

    def build(self):
        return ClipResNet((2, 1, 3, 2), width=8, output_stride=16)


class TestClipResNet8(EncoderContract):
    golden = (0.0810924, 0.0589983, 0.143187, 0.15326)

    def build(self):
        return ClipResNet((2, 1, 3, 2), width=8, output_stride=8)


class TestResNet(EncoderContract):
    golden = (2.87663, 17.6962, 68.1425, 138.785)

    def build(self):
        return StagedEncoder('resnet10t', size_multiple=1)


class TestConvNext(EncoderContract):
    golden = (0.91104, 0.61006, 0.448867, 0.640702)

    def build(self):
        return StagedEncoder('convnext_atto', size_multiple=32, depths=(1, 1, 1, 1))


class TestMobileNetV2(EncoderContract):
    golden = (0.229079, 0.459145, 0.748617, 0.405887)

    def build(self):
        return MobileNetV2()


class TestDDRNet(EncoderContract):
    golden = (33.8165, 153.337)
    even = (128, 192)

    def build(self):
        return DDRNet(width=4, pooled=8)


class TestPIDNet(EncoderContract):
    golden = (19.2672, 522.462, 30.8053)
    even = (128, 192)

    def build(self):
        return PIDNet(width=4, pooled=8)


class TestPIDNetWithFullFusion(EncoderContract):
    golden = (238.126, 4915.17, 3955.41)
    even = (128, 192)

    def build(self):
        return PIDNet(4, pooled=8, stem_blocks=3, branch_blocks=4, light=False)


class TestBiSeNetV2(EncoderContract):
    golden = (0.00373278, 0.0931728, 0.112566, 0.20079, 0.0291251)

    def build(self):
        return BiSeNetV2((4, 4, 8), (4, 4, 4, 8))


@pytest.mark.parametrize('name', ENCODERS)
def test_every_encoder_of_full_size_can_be_built(name):
    with torch.device('meta'), Undrawn():
        encoder = build_encoder(name)
    count = sum(p.numel() for p in encoder.parameters())
    assert count > 1_000_000
    assert len(encoder.channels) == len(encoder.strides)
    if name.startswith(('ddrnet', 'pidnet')):
        assert set(encoder.strides) == {8}
    else:
        assert encoder.strides[:4] == (4, 8, 16, 32)


def test_vltseg_tower_has_the_published_size():
    with torch.device('meta'), Undrawn():
        tower = build_encoder(
            'eva02-clip-l', patch=14, image_size=512, inner_norm=False, pyramid='learned'
        )
    # The published count holds buffers: 25 pairs of 1296 x 64 rotations, batch norm statistics.
    buffers = 25 * 2 * 1296 * 64 + 2 * 1024 + 1
    assert sum(p.numel() for p in tower.parameters()) == 321_068_993 - buffers
    assert tower.taps == (9, 14, 19, 23)
    assert tower.embed.table.shape == (1, 1297, 1024)


def test_unknown_encoder_offers_near_names():
    with pytest.raises(DgssError, match='dinov2-l'):
        build_encoder('dinov2_large')


def test_published_remainders_are_dropped_without_padding():
    """At patch 14, VLTSeg uses 504 of 512 pixels and ignores the other 8."""
    as_published = eva02(**VIT, patch=14, pad=False).eval()
    fill(as_published)
    x = image(1, 64, 64)
    changed = x.clone()
    changed[..., 56:, :] = 0
    with torch.no_grad():
        for a, b in zip(as_published(x), as_published(changed), strict=True):
            assert torch.equal(a, b)
        assert [y.shape[-1] for y in as_published(x)] == [16, 8, 4, 2]
        as_published.pad = True
        assert not torch.equal(as_published(x)[0], as_published(changed)[0])
        assert [y.shape[-1] for y in as_published(x)] == [19, 10, 5, 3]


def test_rotation_keeps_its_precision_in_half_precision():
    encoder = eva02(**VIT)
    exact = encoder.rotation(height=4, width=5).cosines
    assert torch.equal(encoder.bfloat16().rotation(height=4, width=5).cosines, exact)
    maps = encoder(image(1, 64, 96).bfloat16())
    assert all(x.dtype == torch.bfloat16 and x.isfinite().all() for x in maps)


def test_too_small_without_padding():
    with pytest.raises(DgssError, match='at least 32 pixels'):
        dinov2(**VIT, pad=False)(image(1, 64, 20))


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: ClipResNet(output_stride=4), '32, 16 or 8'),
        (lambda: dinov2(**VIT, taps=(0, 1, 2, 4)), 'below 4'),
        (lambda: dinov2(**VIT, taps=(3, 2, 1, 0)), 'rising'),
        (lambda: dinov2(**VIT, pyramid='steep'), 'bilinear'),
        (lambda: dinov2(24, 4, 2, image_size=8), 'smaller than one patch'),
        (lambda: freeze(dinov2(**VIT), 'thawed'), 'last_stage'),
    ],
)
def test_impossible_options_are_named(build, message):
    with pytest.raises(DgssError, match=message):
        build()


def test_clip_resnet_dilations_are_as_published():
    def dilations(stride: int) -> list[list[int]]:
        encoder = ClipResNet((3, 4, 6, 3), width=8, output_stride=stride)
        stages = (encoder.layer2, encoder.layer3, encoder.layer4)
        return [[block.conv2.dilation[0] for block in stage] for stage in stages]

    assert dilations(32) == [[1] * 4, [1] * 6, [1] * 3]
    assert dilations(16) == [[1] * 4, [1] * 6, [1, 1, 2]]
    assert dilations(8) == [[1] * 4, [1, 1, 1, 1, 1, 2], [1, 2, 4]]


def test_frozen_batch_norm_keeps_its_statistics_in_training():
    encoder = ClipResNet((2, 1, 3, 2), width=8)
    freeze(encoder, 'last_block')
    encoder.train()
    frozen, trained = encoder.layer4[0].bn1, encoder.layer4[1].bn1
    before = frozen.running_mean.clone(), trained.running_mean.clone()
    encoder(image(2, 64, 96))
    assert torch.equal(frozen.running_mean, before[0])
    assert not torch.equal(trained.running_mean, before[1])


def test_memory_falls_with_what_is_frozen():
    encoder = dinov2(**VIT | {'depth': 8})
    kept = kept_bytes(encoder, image(1, 64, 96))
    assert kept['frozen'] == 0
    assert kept['last_block'] < 0.2 * kept['full']
    assert kept['last_block'] < kept['last_stage'] < 0.4 * kept['full']
