from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from dgss_core.errors import DgssError
from dgss_core.networks.encoders import build_encoder
from dgss_core.networks.encoders.mobilenetv2 import MobileNetV2

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


def test_there_is_no_download_because_timm_has_no_expansion_in_block_0() -> None:
    with pytest.raises(DgssError, match=r"no 'pretrained' weights.*stem\.\*.*expansion"):
        build_encoder('mobilenetv2', 'pretrained')
    with torch.device('meta'):
        theirs = timm.create_model('mobilenetv2_100').state_dict()
        ours = build_encoder('mobilenetv2').state_dict()
    counts = [
        sum(key.startswith(prefix) and value.ndim == 4 for key, value in state.items())
        for state, prefix in ((ours, 'blocks.0.'), (theirs, 'blocks.0.0.'))
    ]
    assert counts == [3, 2]
