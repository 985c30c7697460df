"""Our encoders against the models of timm and open_clip with the same random weights.

The weights go through the importers, as downloaded weights do.
"""

from __future__ import annotations

from functools import partial

import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
from library_encoders import SIZES, TAPS, TIMM, assert_same, assert_same_as_timm, scatter
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer as OpenClipVit
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer as TimmVit
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import nn

from dgss_core.networks.adapters.freezing import freeze
from dgss_core.networks.encoders import ENCODERS, build_encoder
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.encoders.stages import StagedEncoder
from dgss_core.networks.encoders.vits import clip_vit, dinov2, dinov3, eva02, sam, siglip
from dgss_core.networks.importers.encoders import (
    import_clip_resnet,
    import_clip_vit,
    import_dinov2,
    import_dinov3,
    import_eva02,
    import_sam,
    import_siglip,
    import_timm_stages,
)
from dgss_core.networks.undrawn import Undrawn


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_dinov2_as_in_timm():
    model = TimmVit(**TIMM, init_values=1e-5)
    assert_same_as_timm(dinov2(**SIZES, taps=TAPS), model, import_dinov2)


def test_dinov2_with_registers_as_in_timm_and_in_official_files():
    model = TimmVit(**TIMM, init_values=1e-5, reg_tokens=4, no_embed_class=True)
    encoder = dinov2(**SIZES, taps=TAPS, registers=4)
    assert_same_as_timm(encoder, model, import_dinov2)
    timm_names, row = model.state_dict(), torch.randn(1, 1, 24)
    official = dict(timm_names)
    official['register_tokens'] = official.pop('reg_token')
    official['pos_embed'] = torch.cat((row, official['pos_embed']), dim=1)
    official['cls_token'] = official['cls_token'] - row
    for key, value in import_dinov2(official).items():
        torch.testing.assert_close(value, import_dinov2(timm_names)[key])


@pytest.mark.parametrize('size', [(48, 48), (64, 40)])
@pytest.mark.parametrize('qkv_bias', [True, False])
def test_dinov3_as_in_timm(qkv_bias, size):
    model = Eva(
        **TIMM,
        qkv_bias=qkv_bias,
        init_values=1e-5,
        dynamic_img_size=True,
        rope_type='dinov3',
        rope_temperature=100,
        use_rot_pos_emb=True,
        use_abs_pos_emb=False,
        rope_rotate_half=True,
        num_reg_tokens=4,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
    )
    importer = partial(import_dinov3, head_width=12)
    assert_same_as_timm(dinov3(**SIZES, taps=TAPS), model, importer, size)


@pytest.mark.parametrize('name', ['dinov3-s', 'dinov3-b', 'dinov3-l', 'dinov3-convnext-t'])
def test_dinov3_of_every_published_size_fits(name):
    entry = ENCODERS[name]
    with torch.device('meta'), Undrawn():
        theirs = timm.create_model(entry.pretrained.removeprefix('timm:').split('.')[0])
        ours = build_encoder(name)
    ours.load_pretrained(entry.importer(theirs.state_dict()), name)


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


def test_convnext_with_a_norm_behind_each_map():
    model = scatter(timm.create_model('convnext_atto'))
    encoder = StagedEncoder('convnext_atto', size_multiple=32, norms=True).eval()
    encoder.load_pretrained(import_timm_stages(model.state_dict(), last_norm=True), 'timm')
    x, last = torch.randn(1, 3, 64, 96), model.head.norm
    with torch.no_grad():
        *maps, coarsest = model.forward_intermediates(x, intermediates_only=True)[-4:]
        theirs = [F.layer_norm(y.permute(0, 2, 3, 1), y.shape[1:2], eps=1e-6) for y in maps]
        theirs.append(
            F.layer_norm(
                coarsest.permute(0, 2, 3, 1), coarsest.shape[1:2], last.weight, last.bias, 1e-6
            )
        )
        assert_same(encoder(x), [y.permute(0, 3, 1, 2) for y in theirs])
    freeze(encoder, 'frozen')
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    freeze(encoder, 'last_stage')
    assert [norm.weight.requires_grad for norm in encoder.norms] == [False] * 3 + [True]
