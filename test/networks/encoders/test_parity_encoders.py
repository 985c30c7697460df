"""Encoders against recorded outputs of the published systems, loaded through our importers.

Sizes come from the records, which have reduced widths. The encoders have `pad=False`: pixels that
a patch or a pool does not divide are dropped, as in the published systems.
"""

from __future__ import annotations

import pytest
import torch
from records import assert_close, dinov2_of, eva02_of

from dgss_core.errors import DgssError
from dgss_core.networks.encoders.clip_resnet import STRIDES, ClipResNet
from dgss_core.networks.encoders.vits import clip_vit
from dgss_core.networks.importers.encoders import (
    import_clip_resnet,
    import_clip_vit,
    import_dinov2,
    import_eva02,
)
from dgss_core.training.styles import channel_statistics


@torch.no_grad()
def test_dinov2_taps(record):
    r = record('rein_dinov2_plain')
    encoder = dinov2_of(r['kwargs'])
    encoder.load_pretrained(import_dinov2(r['state_dict']), 'the record')
    for name, x in r['inputs'].items():
        assert_close(encoder(x), r['outputs'][name])


@torch.no_grad()
@pytest.mark.parametrize('twice', [True, False])
def test_clip_vit_of_rein(record, twice):
    r = record('rein_clip_vit')
    kwargs = r['kwargs']
    encoder = clip_vit(
        kwargs['width'],
        kwargs['layers'],
        kwargs['heads'],
        patch=kwargs['patch_size'],
        image_size=kwargs['input_resolution'],
        taps=kwargs['out_indices'],
        pyramid='none',
        drop_path=kwargs['drop_path_rate'],
        pad=False,
    ).eval()
    state = import_clip_vit(r['state_dict'], class_embedding_twice=twice)
    encoder.load_pretrained(state, 'the record')
    for name, x in r['inputs'].items():
        if twice:
            assert_close(encoder(x), r['outputs'][name])
        else:
            # Without Rein's doubled class embedding the outputs differ.
            assert (encoder(x)[-1] - r['outputs'][name][-1]).abs().max() > 0.01


@torch.no_grad()
def test_eva02_of_vltseg(record):
    r = record('vltseg_eva02_subln')
    encoder = eva02_of(r['kwargs'], 'learned')
    encoder.load_pretrained(import_eva02(r['state_dict']), 'the record')
    assert_close(encoder(r['inputs']['x']), r['outputs']['feats'])


@torch.no_grad()
def test_rotation_tables_are_those_of_the_checkpoint(record):
    """The importer drops these tables, because they are computed here."""
    r = record('vltseg_eva02_subln')
    encoder = eva02_of(r['kwargs'], 'learned')
    height, width = encoder.embed.grid
    grid = encoder.rotation(height=height, width=width)
    assert_close(grid.cosines[1:], r['state_dict']['rope.freqs_cos'])
    assert_close(grid.sines[1:], r['state_dict']['rope.freqs_sin'])


def clip_resnet_of(kwargs: dict, state: dict) -> ClipResNet:
    strides = tuple(1 if dilated else 2 for dilated in kwargs['replace_stride_with_dilation'])
    encoder = ClipResNet(
        kwargs['layers'],
        kwargs['width'],
        {value: key for key, value in STRIDES.items()}[strides],
        embedding=kwargs['output_dim'],
        heads=kwargs['heads'],
        image_size=kwargs['input_resolution'],
        pad=False,
    ).eval()
    state = {f'visual.{key}': value for key, value in state.items()}
    encoder.load_pretrained(import_clip_resnet(state, attention_pool=True), 'the record')
    return encoder


@torch.no_grad()
def test_clip_resnet(shared, record):
    paths = sorted((shared / 'parity').glob('famix_clip_resnet_os*.pt'))
    assert len(paths) >= 2
    for path in paths:
        r = record(path.stem)
        # The records of dilated networks hold no weights of their own.
        state = r['state_dict'] or record('famix_clip_resnet_os32')['state_dict']
        encoder = clip_resnet_of(r['kwargs'], state)
        x, theirs = r['inputs']['x'], r['outputs']
        maps = encoder(x)
        assert_close([encoder.stem(x), *maps], [theirs[f'get{i}'] for i in range(5)])
        if 'embed' in theirs:
            assert_close(encoder.embed(maps[-1]), theirs['embed'])
            assert_close(encoder.embed(encoder.high(encoder.low(x))[-1]), theirs['from_layer1'])


def test_channel_statistics(record):
    r = record('famix_stats')
    mean, std = channel_statistics(r['inputs']['x'])
    assert_close(mean, r['outputs']['mean'])
    assert_close(std, r['outputs']['std'])


def test_records_of_other_systems_are_refused(record):
    dino, eva = record('rein_dinov2_plain'), record('vltseg_eva02_subln')
    with pytest.raises(DgssError, match='not an EVA-02'):
        import_eva02(dino['state_dict'])
    with pytest.raises(DgssError, match='not a DINOv2'):
        import_dinov2(eva['state_dict'])
    with pytest.raises(DgssError, match='does not fit'):
        eva02_of(eva['kwargs'] | {'depth': 5}, 'learned').load_pretrained(
            import_eva02(eva['state_dict']), 'the record'
        )


def test_channel_statistics_of_known_numbers():
    x = torch.tensor([1.0, 2.0, 3.0, 6.0]).reshape(1, 1, 2, 2)
    mean, std = channel_statistics(x, eps=1.0)
    assert mean.item() == 3.0
    # Unbiased variance: (4 + 1 + 0 + 9) / 3.
    assert std.item() == pytest.approx((14 / 3 + 1) ** 0.5)
