"""Our encoders at full size against timm and open_clip, and weights resampled on loading."""

from __future__ import annotations

import open_clip
import pytest
import timm
import torch
from library_encoders import SIZES, TIMM, scatter
from open_clip.modified_resnet import ModifiedResNet
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer as TimmVit

from dgss_core.errors import DgssError
from dgss_core.networks.encoders import build_encoder
from dgss_core.networks.encoders.vits import dinov2, eva02
from dgss_core.networks.importers.encoders import (
    import_clip_resnet,
    import_clip_vit,
    import_dinov2,
    import_eva02,
    import_sam,
    import_siglip,
    import_timm_stages,
)
from dgss_core.networks.undrawn import Undrawn


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ('name', 'timm_name', 'options'),
    [
        ('dinov2-s', 'vit_small_patch14_dinov2', {'patch': 14, 'image_size': 518}),
        ('dinov2-b', 'vit_base_patch14_dinov2', {'patch': 14, 'image_size': 518}),
        ('dinov2-l', 'vit_large_patch14_dinov2', {'patch': 14, 'image_size': 518}),
        ('clip-vit-b', 'vit_base_patch16_clip_224', {'image_size': 224}),
        ('clip-vit-l', 'vit_large_patch14_clip_224', {'patch': 14, 'image_size': 224}),
        ('eva02-clip-l', 'eva02_large_patch14_clip_224', {'patch': 14, 'image_size': 224}),
        ('eva02-l', 'eva02_large_patch14_224', {'patch': 14, 'image_size': 224}),
        ('siglip-b', 'vit_base_patch16_siglip_512', {}),
        ('siglip-l', 'vit_large_patch16_siglip_512', {}),
        ('sam-b', 'samvit_base_patch16', {}),
        ('sam-l', 'samvit_large_patch16', {}),
        ('sam-h', 'samvit_huge_patch16', {}),
        ('resnet50', 'resnet50', {}),
        ('resnet101', 'resnet101', {}),
        ('convnext-b', 'convnext_base', {}),
        ('convnext-l', 'convnext_large', {}),
    ],
)
def test_full_sizes_as_in_timm(name, timm_name, options):
    """Every tensor of timm's full-size model has a counterpart of the same shape."""
    with torch.device('meta'), Undrawn():
        encoder = build_encoder(name, **options)
        model = timm.create_model(timm_name, num_classes=0)
    importer = {
        'dinov2': import_dinov2,
        'clip': import_clip_vit,
        'eva02': import_eva02,
        'siglip': import_siglip,
        'sam': import_sam,
    }.get(name.split('-')[0], import_timm_stages)
    state = importer(model.state_dict())
    own = encoder.state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in own.items()}


@pytest.mark.parametrize(('name', 'model'), [('clip-rn50', 'RN50'), ('clip-rn101', 'RN101')])
def test_full_clip_resnets_as_in_open_clip(name, model):
    config = open_clip.get_model_config(model)
    vision = config['vision_cfg']
    with torch.device('meta'), Undrawn():
        encoder = build_encoder(name, embedding=config['embed_dim'])
        tower = ModifiedResNet(
            vision['layers'], config['embed_dim'], vision['width'] // 2, 224, vision['width']
        )
    state = import_clip_resnet(tower.state_dict(), attention_pool=True)
    own = encoder.state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in own.items()}


def test_position_tables_and_patches_are_resampled_on_loading():
    """A pre-training at patch 8 and 48 pixels, used at patch 16 and 64 pixels."""
    model = scatter(TimmVit(**TIMM, init_values=1e-5))
    encoder = dinov2(**SIZES | {'patch': 16, 'image_size': 64})
    encoder.load_pretrained(import_dinov2(model.state_dict()), 'timm')
    resize = torch.nn.functional.interpolate
    kernel = resize(model.patch_embed.proj.weight, size=(16, 16), mode='bicubic')
    assert torch.equal(encoder.embed.proj.weight, kernel)
    table = model.pos_embed[:, 1:].reshape(1, 6, 6, 24).permute(0, 3, 1, 2)
    table = resize(table, size=(4, 4), mode='bicubic').flatten(2).transpose(1, 2)
    assert torch.equal(encoder.embed.table[:, 1:], table)
    assert torch.equal(encoder.embed.table[:, 0], model.pos_embed[:, 0])


def test_inner_norm_is_dropped_only_on_request():
    model = scatter(
        Eva(
            **TIMM,
            qkv_fused=False,
            swiglu_mlp=True,
            scale_mlp=True,
            mlp_ratio=8 / 3,
            scale_attn_inner=True,
        )
    )
    state = model.state_dict()
    without = eva02(**SIZES, inner_norm=False)
    with pytest.raises(DgssError, match='unexpected'):
        without.load_pretrained(import_eva02(state), 'an EVA-02-CLIP')
    without.load_pretrained(import_eva02(state, drop_inner_norm=True), 'an EVA-02-CLIP')
    assert torch.equal(without.blocks[3].attention.proj.weight, model.blocks[3].attn.proj.weight)
