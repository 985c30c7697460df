"""Our encoders against the models of timm and open_clip with the same random weights.

The weights go through the importers, as downloaded weights do.
"""

from __future__ import annotations

from functools import partial

import open_clip
import pytest
import timm
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer as OpenClipVit
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer as TimmVit
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.encoders import build_encoder
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.encoders.stages import StagedEncoder
from dgss_core.networks.encoders.vits import clip_vit, dinov2, eva02, sam, siglip
from dgss_core.networks.importers.encoders import (
    import_clip_resnet,
    import_clip_vit,
    import_dinov2,
    import_eva02,
    import_sam,
    import_siglip,
    import_timm_stages,
)

SIZES = {'width': 24, 'depth': 4, 'heads': 2, 'patch': 8, 'image_size': 48, 'pyramid': 'none'}
TIMM = {
    'embed_dim': 24,
    'depth': 4,
    'num_heads': 2,
    'patch_size': 8,
    'img_size': 48,
    'num_classes': 0,
}
TAPS = [0, 1, 2, 3]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def scatter(module: nn.Module) -> nn.Module:
    """Set all weights to random values: the initial zeros and ones would hide mistakes."""
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point() and 'rope' not in name:
                value.normal_(0, 0.2)
            if name.endswith('running_var'):
                value.abs_().add_(0.5)
    return module.eval()


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def assert_same_as_timm(encoder, model, importer, size=(48, 48)) -> None:
    scatter(model)
    encoder.load_pretrained(importer(model.state_dict()), 'timm')
    encoder.eval()
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        theirs = model.forward_intermediates(x, indices=TAPS, intermediates_only=True)
        assert_same(encoder(x), theirs)


def test_dinov2_as_in_timm():
    model = TimmVit(**TIMM, init_values=1e-5)
    assert_same_as_timm(dinov2(**SIZES, taps=TAPS), model, import_dinov2)


def test_siglip_as_in_timm():
    model = TimmVit(**TIMM, class_token=False, global_pool='map')
    assert_same_as_timm(siglip(**SIZES, taps=TAPS), model, import_siglip)


@pytest.mark.parametrize('quick_gelu', [True, False])
def test_clip_vit_as_in_timm(quick_gelu):
    model = TimmVit(
        **TIMM,
        pre_norm=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        act_layer='quick_gelu' if quick_gelu else 'gelu',
    )
    encoder = clip_vit(**SIZES, taps=TAPS, quick_gelu=quick_gelu)
    assert_same_as_timm(encoder, model, import_clip_vit)


@pytest.mark.parametrize('inner_norm', [True, False])
@pytest.mark.parametrize('size', [(48, 48), (64, 40)])
def test_eva02_as_in_timm(inner_norm, size):
    model = Eva(
        **TIMM | {'img_size': size},
        mlp_ratio=8 / 3,
        qkv_fused=False,
        swiglu_mlp=True,
        scale_mlp=True,
        scale_attn_inner=inner_norm,
        use_rot_pos_emb=True,
        ref_feat_shape=(16, 16),
    )
    encoder = eva02(**SIZES, taps=TAPS, inner_norm=inner_norm)
    if size != (48, 48):
        encoder.embed.grid = (8, 5)
        encoder.embed.table = nn.Parameter(torch.zeros(1, 41, 24))
    assert_same_as_timm(encoder, model, import_eva02, size)


@pytest.mark.parametrize('size', [(48, 48), (96, 48)])
def test_sam_as_in_timm(size):
    model = VisionTransformerSAM(
        **TIMM,
        use_rel_pos=True,
        window_size=4,
        global_attn_indexes=(0, 1, 2, 3),
        # SAM's own eps; timm builds it with 1e-5.
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_abs_pos=True,
    )
    encoder = sam(**SIZES, taps=TAPS, window=4)
    if size != (48, 48):
        # Positions are zero, because timm resamples them in another way.
        model.pos_embed.data = torch.zeros(1, 12, 6, 24)
        encoder.embed.grid = (12, 6)
        encoder.embed.table = nn.Parameter(torch.zeros(1, 72, 24))
    assert_same_as_timm(encoder, model, import_sam, size)


def test_sam_windows_as_in_timm():
    model = VisionTransformerSAM(
        **TIMM | {'depth': 8},
        use_rel_pos=True,
        window_size=4,
        global_attn_indexes=(1, 3, 5, 7),
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    encoder = sam(**SIZES | {'depth': 8}, window=4)
    scatter(model)
    official = {
        f'image_encoder.{key.replace("mlp.fc", "mlp.lin")}': value
        for key, value in model.state_dict().items()
        if not key.startswith('head.')
    }
    encoder.load_pretrained(import_sam(official), 'the official names')
    encoder.eval()
    x = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        theirs = model.forward_intermediates(x, indices=[1, 3, 5, 7], intermediates_only=True)
        assert_same(encoder(x), theirs)


def test_clip_vit_as_in_open_clip():
    model = scatter(
        OpenClipVit(
            image_size=48,
            patch_size=8,
            width=24,
            layers=4,
            heads=2,
            mlp_ratio=4.0,
            output_dim=16,
            act_layer=open_clip.transformer.QuickGELU,
        )
    )
    encoder = clip_vit(**SIZES, taps=TAPS).eval()
    state = {f'visual.{key}': value for key, value in model.state_dict().items()}
    text = {'logit_scale': torch.ones(()), 'transformer.resblocks.0.ln_1.weight': torch.ones(8)}
    encoder.load_pretrained(import_clip_vit(state | text), 'open_clip')
    x = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        theirs = model.forward_intermediates(x, indices=TAPS, intermediates_only=True)
        assert_same(encoder(x), theirs['image_intermediates'])


def test_clip_resnet_as_in_open_clip():
    model = scatter(ModifiedResNet((2, 1, 3, 2), output_dim=16, heads=4, image_size=64, width=8))
    encoder = ClipResNet((2, 1, 3, 2), width=8, embedding=16, heads=4, image_size=64).eval()
    state = {f'visual.{key}': value for key, value in model.state_dict().items()}
    encoder.load_pretrained(import_clip_resnet(state, attention_pool=True), 'open_clip')
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = encoder(x)
        theirs = model.forward_intermediates(x, indices=4, intermediates_only=True)
        for ours, other in zip(maps, theirs['image_intermediates'][-4:], strict=True):
            assert (ours - other).abs().max() <= 1e-5 * other.abs().max()
        pooled = model(x)
        assert (encoder.embed(maps[-1]) - pooled).abs().max() <= 1e-5 * pooled.abs().max()


def test_clip_convnext_as_in_open_clip():
    model = open_clip.CLIP(
        embed_dim=16,
        vision_cfg={
            'timm_model_name': 'convnext_atto',
            'timm_pool': '',
            'timm_proj': 'mlp',
            'image_size': 64,
        },
        text_cfg={'context_length': 8, 'vocab_size': 64, 'width': 16, 'heads': 2, 'layers': 1},
    ).eval()
    encoder = StagedEncoder('convnext_atto', size_multiple=32).eval()
    encoder.load_pretrained(import_timm_stages(model.state_dict()), 'open_clip')
    x = torch.randn(1, 3, 64, 64)
    trunk = model.visual.trunk
    with torch.no_grad():
        theirs = trunk.forward_intermediates(x, indices=4, intermediates_only=True)
        assert_same(encoder(x), theirs)


@pytest.mark.parametrize('name', ['resnet10t', 'convnext_atto'])
def test_stages_as_in_timm(name):
    model = timm.create_model(name).eval()
    encoder = StagedEncoder(name, size_multiple=32).eval()
    encoder.load_pretrained(import_timm_stages(model.state_dict()), 'timm')
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        theirs = model.forward_intermediates(x, intermediates_only=True)
        assert_same(encoder(x), theirs[-4:])


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
    with torch.device('meta'):
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
    with torch.device('meta'):
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
