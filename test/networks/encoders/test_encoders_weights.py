"""Weights of encoders: sources, and files that are refused."""

from __future__ import annotations

import functools
import io
import pickle

import huggingface_hub.constants
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from dgss_core.errors import DgssError
from dgss_core.networks.encoders import build_encoder
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.encoders.vits import dinov2, eva02
from dgss_core.networks.encoders.weights import load_weights, read_file, read_weights
from dgss_core.networks.importers.encoders import (
    import_clip_resnet,
    import_clip_vit,
    import_dinov2,
    import_eva02,
    import_sam,
    import_siglip,
    import_timm_stages,
)

SIZES = {'width': 24, 'depth': 4, 'heads': 2, 'image_size': 64}
STATE = {'a.weight': torch.ones(2, 3), 'a.bias': torch.zeros(2, dtype=torch.float16)}


def test_safetensors_and_torch_files_read_alike(tmp_path):
    save_file(STATE, tmp_path / 'a.safetensors')
    torch.save({'meta': {'epoch': 1}, 'state_dict': STATE}, tmp_path / 'a.pth')
    torch.save(STATE, tmp_path / 'plain.pt')
    for name in ('a.safetensors', 'a.pth', 'plain.pt'):
        state = read_weights(tmp_path / name)
        assert set(state) == set(STATE)
        assert state['a.bias'].dtype == torch.float32


class Harmful:
    """A pickle that runs code when it is loaded."""

    def __reduce__(self):
        return print, ('this must never be printed',)


def test_files_that_carry_code_are_refused(tmp_path, capsys):
    torch.save({'state_dict': STATE, 'hook': Harmful()}, tmp_path / 'code.pth')
    with pytest.raises(DgssError, match=r'more than tensors.*print'):
        read_file(tmp_path / 'code.pth')
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('broken.safetensors', b'{"a": 1', 'not a whole safetensors file'),
        ('broken.pt', b'not a zip', 'not a torch weight file|more than tensors'),
        ('empty.pt', b'', 'is empty'),
        ('legacy.pkl', pickle.dumps(Harmful(), protocol=2), 'more than tensors'),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DgssError, match=message) as error:
        read_file(tmp_path / name)
    assert name in str(error.value)


def test_cut_off_and_foreign_files_are_named(tmp_path):
    whole = io.BytesIO()
    torch.save(STATE, whole)
    (tmp_path / 'cut.pt').write_bytes(whole.getvalue()[:-200])
    with pytest.raises(DgssError, match=r'cut\.pt is cut short'):
        read_file(tmp_path / 'cut.pt')
    torch.save(torch.ones(3), tmp_path / 'tensor.pt')
    with pytest.raises(DgssError, match='no state_dict'):
        read_file(tmp_path / 'tensor.pt')
    torch.save({'a': torch.ones(3), 'epoch': 7}, tmp_path / 'mixed.pt')
    with pytest.raises(DgssError, match="'epoch' is no tensor"):
        read_file(tmp_path / 'mixed.pt')
    with pytest.raises(DgssError, match='no weight file'):
        read_file(tmp_path / 'absent.pt')


def test_timm_weights_by_name(tmp_path, monkeypatch):
    """A local file replaces the download; the rest is timm's own code."""
    torch.manual_seed(3)
    model = timm.create_model('resnet10t')
    save_file(model.state_dict(), tmp_path / 'resnet10t.safetensors')
    overlay = {'file': str(tmp_path / 'resnet10t.safetensors')}
    local = functools.partial(timm.create_model, pretrained_cfg_overlay=overlay)
    monkeypatch.setattr(timm, 'create_model', local)
    state = read_weights('timm:resnet10t.c3_in1k')
    assert torch.equal(state['layer4.0.conv1.weight'], model.layer4[0].conv1.weight)


def test_names_that_libraries_do_not_know():
    with pytest.raises(DgssError, match='timm has no model'):
        read_weights('timm:resnet51')
    with pytest.raises(DgssError, match='open_clip has no weights'):
        read_weights('open_clip:RN50/closed')


@pytest.mark.parametrize('name', ['timm:resnet10t.c3_in1k', 'open_clip:RN50/openai'])
def test_a_missing_network_is_named(name, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr(
        open_clip.pretrained, 'hf_hub_download', functools.partial(_refuse, tmp_path)
    )
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(DgssError, match=r'could not be loaded .*local weight file'):
        read_weights(name)


def _refuse(*_, **__):
    raise ConnectionError('no network')


def test_load_weights_names_what_differs():
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    state = module.state_dict()
    assert load_weights(module, state, 'a file') == []
    partial = {k: v for k, v in state.items() if k != '0.bias'}
    with pytest.raises(DgssError, match=r'a file .*missing: 0\.bias'):
        load_weights(module, partial, 'a file')
    assert load_weights(module, partial, 'a file', may_lack=('0.bias',)) == ['0.bias']
    with pytest.raises(DgssError, match=r'unexpected: 2\.weight'):
        load_weights(module, state | {'2.weight': torch.ones(1)}, 'a file')
    with pytest.raises(DgssError, match=r'0\.weight \(2, 4\) instead of \(2, 3\)'):
        load_weights(module, state | {'0.weight': torch.ones(2, 4)}, 'a file')


def test_a_refused_file_changes_nothing():
    encoder = dinov2(**SIZES)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    other = dinov2(**SIZES | {'depth': 5}, taps=(0, 1, 2, 4)).state_dict()
    with pytest.raises(DgssError, match='unexpected'):
        encoder.load_pretrained(other, 'a deeper DINOv2')
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_counters_of_batch_norms_may_be_missing():
    encoder = ClipResNet((1, 1, 1, 1), width=8)
    state = {k: v for k, v in encoder.state_dict().items() if not k.endswith('tracked')}
    encoder.load_pretrained(state, 'an old file')


@pytest.mark.parametrize(
    'importer',
    [import_clip_resnet, import_clip_vit, import_dinov2, import_eva02, import_sam, import_siglip],
)
def test_importers_refuse_other_architectures(importer):
    resnet = timm.create_model('resnet10t').state_dict()
    with pytest.raises(DgssError, match=r'This is not .*check that the file'):
        importer(resnet)


def test_importers_refuse_unknown_keys():
    eva = eva02(**SIZES)
    published = {
        'cls_token': eva.embed.class_token,
        'patch_embed.proj.weight': eva.embed.proj.weight,
        'blocks.0.norm1.weight': eva.blocks[0].norm1.weight,
        'blocks.0.mystery.weight': torch.ones(1),
    }
    with pytest.raises(DgssError, match=r'blocks\.0\.mystery\.weight'):
        import_eva02(published)
    with pytest.raises(DgssError, match='ResNet or ConvNeXt'):
        import_timm_stages(dinov2(**SIZES).state_dict())


def test_wrong_architecture_by_name_is_one_clear_error(tmp_path):
    torch.save(timm.create_model('resnet10t').state_dict(), tmp_path / 'resnet.pth')
    with pytest.raises(DgssError, match='not a DINOv2 encoder'):
        build_encoder('dinov2-s', tmp_path / 'resnet.pth')
    with pytest.raises(DgssError, match=r'resnet\.pth does not fit'):
        build_encoder('resnet50', tmp_path / 'resnet.pth')


def test_encoders_load_from_a_file_by_name(tmp_path):
    torch.manual_seed(1)
    model = timm.create_model('vit_small_patch14_dinov2', img_size=28, num_classes=0)
    save_file(model.state_dict(), tmp_path / 'dinov2.safetensors')
    encoder = build_encoder('dinov2-s', tmp_path / 'dinov2.safetensors', patch=14, image_size=28)
    key = model.blocks[7].attn.qkv.weight[384:768]
    assert torch.equal(encoder.blocks[7].attention.k.weight, key)
