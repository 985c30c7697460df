from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from dgss_core.errors import DgssError
from dgss_core.networks.checkpoint import About, load_checkpoint, save_checkpoint
from dgss_core.networks.encoders import build_encoder
from dgss_core.networks.encoders.mobilenetv2 import MobileNetV2
from dgss_core.networks.encoders.registry import ENCODERS
from dgss_core.networks.systems import build_system

WEIGHTS = 'weights/mobilenetv2_imagenet_fp16.safetensors'


@pytest.mark.parametrize('size', [(96, 160), (97, 131), (33, 32)])
def test_maps_have_the_declared_channels_and_strides(size: tuple[int, int]) -> None:
    encoder = MobileNetV2().eval()
    maps = encoder(torch.randn(2, 3, *size))
    for x, channels, stride in zip(maps, encoder.channels, encoder.strides, strict=True):
        assert x.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))


def test_it_has_the_parameters_of_the_paper_less_its_classifier() -> None:
    # 3.4 M with 1000 classes (Sandler et al., table 4). Of these, 0.41 M are the last 1x1
    # convolution and 1.28 M the classifier. The expansion in block 0 adds 0.001 M.
    assert sum(p.numel() for p in MobileNetV2().parameters()) == pytest.approx(1.81e6, rel=0.01)


def test_imagenet_weights_give_the_maps_of_the_reference(shared: Path) -> None:
    spec = importlib.util.spec_from_file_location('reference', shared / 'weights/reference.py')
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    oracle = reference.MobileNetV2()
    weights = {key: value.float() for key, value in load_file(shared / WEIGHTS).items()}
    oracle.load_state_dict(weights, strict=False)
    x = torch.randn(1, 3, 97, 131)
    encoder = build_encoder('mobilenetv2', shared / WEIGHTS).eval()
    with torch.no_grad():
        ours, theirs = encoder(x), oracle.eval()(x, feats=True)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'other.safetensors'
    save_file({'stem.0.weight': torch.zeros(16, 3, 3, 3)}, path)
    with pytest.raises(DgssError, match=r'stem\.0\.weight|missing'):
        build_encoder('mobilenetv2', path)
    with pytest.raises(DgssError, match='There is no weight file'):
        build_encoder('mobilenetv2', tmp_path / 'nowhere')


def scattered(model: nn.Module) -> nn.Module:
    """Random weights of every kind: the initial zeros and ones would hide mistakes."""
    torch.manual_seed(2)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.normal_(0, 0.2)
        if name.endswith('running_var'):
            value.abs_().add_(0.5)
    return model.eval()


@pytest.mark.parametrize('library', ['torchvision', 'timm'])
def test_files_of_libraries_give_their_maps(library: str, tmp_path: Path) -> None:
    if library == 'timm':
        theirs = scattered(timm.create_model('mobilenetv2_100'))
    else:
        theirs = scattered(torchvision.models.mobilenet_v2())
    torch.save({'state_dict': theirs.state_dict()}, tmp_path / 'weights.pth')
    encoder = build_encoder('mobilenetv2', tmp_path / 'weights.pth').eval()
    x, maps = torch.randn(1, 3, 97, 131), []
    with torch.no_grad():
        if library == 'timm':
            maps = theirs.forward_intermediates(x, intermediates_only=True)[1:]
        else:
            y = x
            for index, layer in enumerate(theirs.features):
                y = layer(y)
                maps += [y] if index in (3, 6, 13, 17) else []
        for ours, expected in zip(encoder(x), maps, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_a_checkpoint_records_the_form_that_its_weights_had(tmp_path: Path) -> None:
    save_file(timm.create_model('mobilenetv2_100').state_dict(), tmp_path / 'w.safetensors')
    model = build_system('dgss-mobilenetv2', weights=tmp_path / 'w.safetensors', width=8)
    sizes = {'encoder_options': dict(model.encoder.form), 'width': 8}
    save_checkpoint(model, tmp_path / 'm.safetensors', About('dgss-mobilenetv2', sizes))
    again = load_checkpoint(tmp_path / 'm.safetensors')
    assert len(again.encoder.blocks[0].layers) == 5
    with pytest.raises(DgssError, match=r'missing: blocks\.0\.layers\.6'):
        build_encoder('mobilenetv2', tmp_path / 'w.safetensors', first_expansion=True)


def test_the_download_is_that_of_timm() -> None:
    entry = ENCODERS['mobilenetv2']
    source = entry.pretrained.removeprefix('timm:')
    assert source in timm.list_pretrained('mobilenetv2_100*')
    assert timm.get_pretrained_cfg(source).license.upper() == entry.licence.upper()
