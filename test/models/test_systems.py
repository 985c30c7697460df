"""Every system: its size as published, and one contract for all of them at a reduced size."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dgss_core.adapters.lora import merge_lora
from dgss_core.adapters.reins import Reins, StageReins
from dgss_core.cli import main
from dgss_core.commands.models import describe
from dgss_core.errors import DgssError
from dgss_core.export import DeployedNetwork, export_bundle
from dgss_core.heads.mask2former import Mask2FormerHead
from dgss_core.inference import Inference
from dgss_core.runtimes import load_backend
from dgss_core.styles import StyleBank
from dgss_core.synthetic import StreetDrive
from dgss_core.systems import SYSTEMS, SegmentationModel, build_system
from dgss_core.systems.famix import FamixModel

VIT = {'width': 32, 'depth': 4, 'heads': 2, 'taps': (0, 1, 2, 3), 'image_size': 64}
CLIP_RESNET = {'layers': (1, 1, 1, 2), 'width': 8}
ENCODERS = {
    'clip-rn50': CLIP_RESNET,
    'clip-rn101': CLIP_RESNET,
    'clip-convnext-l': {'dims': (8, 16, 24, 32), 'depths': (1, 1, 1, 1)},
    'convnext-l': {'dims': (8, 16, 24, 32), 'depths': (1, 1, 1, 1)},
    'resnet50': {'layers': (1, 1, 1, 1), 'channels': (8, 16, 24, 32)},
    'sam-h': {**VIT, 'window': 3},
    'mobilenetv2': {},
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
    'dgss': {'width': 32, 'groups': 4, 'rank': 4},
}
ONE_OF_EACH = (
    'famix-rn50',
    'rein-dinov2-l',
    'vltseg-eva02-clip-l',
    'clouds-rn50',
    'dgss-dinov2-l',
    'dgss-mobilenetv2',
)


def small(name: str, **sizes) -> SegmentationModel:
    encoder = ENCODERS.get(SYSTEMS[name].encoder, VIT)
    usual = {'width': 16} if name == 'dgss-mobilenetv2' else SIZES[name.split('-')[0]]
    torch.manual_seed(0)
    return build_system(name, encoder_options=encoder, **{**usual, **sizes})


def filled(name: str) -> SegmentationModel:
    """A small model whose every weight follows from a formula."""
    model = small(name)
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            wave = torch.arange(parameter.numel(), dtype=torch.float64)
            wave = ((wave + 1) * 0.7 + index).sin().view_as(parameter)
            parameter.copy_(wave / max(1, parameter[0].numel() if parameter.ndim else 1) ** 0.5)
    return model.eval()


def loud(name: str, frames: torch.Tensor) -> SegmentationModel:
    """A small random model whose masks of `frames` hold several classes."""
    model = small(name).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    with torch.no_grad():
        if isinstance(model.encoder.adapter, Reins):
            level(model, frames, model.encoder.adapter.merge, 1)
        if isinstance(model.head, Mask2FormerHead):
            level(model, frames, model.head.pixel_decoder.mask_feature, 1)
            level(model, frames, model.head.decoder.mask_embedding[-1], 1)
            level(model, frames, model.head.decoder.classifier.linear, 4)
        else:
            last = [m for m in model.head.modules() if isinstance(m, nn.Conv2d)][-1]
            level(model, frames, last, 3)
    return model


def level(model: SegmentationModel, frames: torch.Tensor, layer: nn.Module, spread: float) -> None:
    """Give the last outputs of `layer` mean 0 and a deviation of `spread` in every channel."""
    seen = []
    hook = layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model(frames)
    hook.remove()
    channels = 1 if isinstance(layer, nn.Conv2d) else -1
    rows = seen[-1].movedim(channels, 0).flatten(1)
    std, mean = torch.std_mean(rows, dim=1)
    layer.weight.mul_((spread / std).view(-1, *[1] * (layer.weight.ndim - 1)))
    layer.bias.sub_(mean).mul_(spread / std)


def images(height: int = 64, width: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, height, width, generator=generator) * 255


def labels(height: int = 64, width: int = 96) -> torch.Tensor:
    ids = (torch.arange(height)[:, None] // 16 + torch.arange(width) // 16) % 19
    ids[:4] = 255
    return ids.expand(2, -1, -1)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class TestPublishedSizes:
    @pytest.mark.parametrize(
        ('name', 'head', 'total'),
        [
            ('rein-dinov2-l', 20_579_796, 327_766_485),
            ('vltseg-eva02-clip-l', 20_565_204, 337_534_100),
            ('clouds-convnext-l', 20_253_908, 216_481_172),
            ('famix-rn50', 16_253_299, 39_780_563),
            ('dgss-dinov2-l', 6_825_491, 315_740_691),
            ('dgss-mobilenetv2', 177_171, 1_989_971),
        ],
    )
    def test_parameters(self, name, head, total):
        with torch.device('meta'):
            model = build_system(name)
        assert sum(p.numel() for p in model.head.parameters()) == head
        assert sum(p.numel() for p in model.parameters()) == total

    @pytest.mark.parametrize(
        ('name', 'adapter'), [('rein-dinov2-l', 2_990_081), ('rein-sam-h', 4_510_721)]
    )
    def test_rein_trains_adapter_and_head_only(self, name, adapter):
        with torch.device('meta'):
            model = build_system(name)
        count = sum(p.numel() for p in model.encoder.adapter.parameters())
        assert count == adapter
        head = sum(p.numel() for p in model.head.parameters())
        assert describe(name)['trained'] == adapter + head

    def test_lora_of_the_paper(self):
        lora = 24 * 3 * 32 * (1024 + 1024)
        assert describe('dgss-dinov2-l')['trained'] == lora + 6_825_491


def test_unknown_names_offer_the_nearest():
    with pytest.raises(DgssError, match='rein-dinov2-l'):
        build_system('rein-dinov2-xl')


def test_models_are_listed(capsys):
    assert main(['models', '--json']) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row['name'] for row in rows] == list(SYSTEMS)
    assert rows[0]['size_multiple'] == 16
    assert main(['models']) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in SYSTEMS)
    assert '327.77' in table


@pytest.mark.parametrize('name', SYSTEMS)
class TestContract:
    def test_scores(self, name):
        model = small(name).eval()
        with torch.no_grad():
            scores = model(images())
            assert scores.shape[:2] == (2, 19)
            assert scores.isfinite().all()
            assert model.at_size(images()).shape == (2, 19, 64, 96)
            odd = images(61, 90)
            assert model.at_size(odd).shape == (2, 19, 61, 90)
            assert model.at_size(odd, (30, 40)).shape == (2, 19, 30, 40)

    def test_the_loss_reaches_exactly_what_is_trained(self, name):
        model = small(name).train()
        loss = sum(model.loss(images(), labels()).values())
        loss.backward()
        assert loss.item() > 0
        for key, parameter in model.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, key

    def test_frozen_norms_keep_their_statistics(self, name):
        model = small(name).train()
        norms = [m for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
        before = [norm.running_mean.clone() for norm in norms]
        model.loss(images(), labels())
        for norm, mean in zip(norms, before, strict=True):
            assert norm.training == norm.weight.requires_grad
            assert torch.equal(norm.running_mean, mean) != norm.training

    def test_saved_weights_give_equal_scores(self, name, tmp_path):
        model, other = filled(name), small(name).eval()
        save_file(model.state_dict(), tmp_path / 'weights.safetensors')
        x = images()
        with torch.no_grad():
            assert not torch.equal(model(x), other(x))
            other.load_state_dict(load_file(tmp_path / 'weights.safetensors'))
            assert torch.equal(model(x), other(x))


@pytest.mark.parametrize(
    ('name', 'values'),
    [
        ('famix-rn50', (-0.19075, 0.22753, -0.70235, 0.97013)),
        ('rein-dinov2-l', (1.21209, 0.05558, 0.5877, 0.68787)),
        ('vltseg-eva02-clip-l', (0.36445, 0.03552, 0.10191, 0.96945)),
        ('clouds-rn50', (0.54376, 0.02072, 0.31333, 0.81051)),
        ('dgss-dinov2-l', (-0.54737, -0.82043, -0.69444, 0.6772)),
        ('dgss-mobilenetv2', (1.45248, -1.13655, 1.21881, 0.88529)),
    ],
)
def test_scores_of_formula_weights_stay_what_they_were(name, values):
    with torch.no_grad():
        s = filled(name)(images())
    ours = torch.stack((s[0, 0, 3, 5], s[1, 7, 10, 12], s[0, 18, 8, 8], s.std()))
    torch.testing.assert_close(ours, torch.tensor(values), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize('name', ONE_OF_EACH)
def test_torch_export(name):
    model, x = filled(name), images()
    program = torch.export.export(model, (x,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), model(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('name', ONE_OF_EACH)
def test_the_bundle_equals_the_merged_model(name, tmp_path: Path):
    frames = np.stack([StreetDrive(3, c, 90, 61).frame(0).image for c in ('day', 'fog')])
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    model = loud(name, x)
    with torch.no_grad():
        before = model(x)
        assert bool(merge_lora(model)) == (name == 'dgss-dinov2-l')
        after = model(x)
        torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)
        mask, confidence = DeployedNetwork(model, (61, 90))(torch.from_numpy(frames))
    bundle = export_bundle(
        model,
        tmp_path / 'bundle',
        name=name,
        height=61,
        width=90,
        licence='Apache-2.0',
        training_data=(),
        metrics={},
    )
    assert len(mask.unique()) > 2
    masks, confidences = load_backend(bundle, 'onnxruntime').run(frames)
    assert (masks == mask.numpy()).mean() >= 0.999
    assert np.abs(confidences.astype(int) - confidence.numpy()).max() <= 1


def test_masks_are_resized_before_their_sigmoid():
    """Scores at a size differ from resized scores for Mask2Former, and only for it."""
    for name, same in (('vltseg-clip-b', False), ('famix-rn50', True)):
        model = filled(name)
        with torch.no_grad():
            resized = nn.functional.interpolate(model(images()), (64, 96), mode='bilinear')
            assert torch.allclose(model.at_size(images()), resized, atol=1e-5) == same


def test_the_queries_of_rein_come_from_its_tokens():
    for name, kind in (('rein-dinov2-s', Reins), ('rein-resnet50', StageReins)):
        model = filled(name)
        assert isinstance(model.encoder.adapter, kind)
        with torch.no_grad():
            before = model(images())
            for merge in (
                m.merge for m in model.encoder.adapter.modules() if isinstance(m, Reins)
            ):
                merge.bias.add_(1)
            assert not torch.allclose(before, model(images()))


def test_famix_trains_in_mixed_styles():
    model = small('famix-rn50', train='last_stage').train()
    assert isinstance(model, FamixModel)
    bank = StyleBank({255: torch.stack((torch.full((1, 32), 0.5), torch.ones(1, 32)), dim=1)})
    x, y = images(96, 96), labels(96, 96)
    loss = model.mixed_loss(x, y, bank, Random(0))['ce']
    loss.backward()
    assert abs(loss.item() - model.loss(x, y)['ce'].item()) > 1e-4
    assert all(p.grad is not None for p in model.encoder.layer4.parameters())
    assert not any(p.requires_grad for p in model.encoder.layer3.parameters())


def test_soma_starts_where_the_encoder_is():
    targets = ('q', 'k', 'v', 'proj', 'fc1', 'fc2')
    model = small('dgss-dinov2-s', adapter='soma', targets=targets).eval()
    plain = small('dgss-dinov2-s').eval()
    for ours, theirs in zip(model.features(images()), plain.features(images()), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert merge_lora(model) == 3 * 6
    with pytest.raises(DgssError, match='soma'):
        small('dgss-dinov2-s', adapter='soam')


def test_sliding_windows_over_a_system():
    model = filled('rein-dinov2-s')
    look = Inference(window=(48, 48), stride=(32, 32))
    scores = look(model.at_size, images(61, 90))
    assert scores.shape == (2, 19, 61, 90)
    with torch.no_grad():
        corner = model.at_size(images(61, 90)[..., :48, :48])
    torch.testing.assert_close(scores[..., :13, :32], corner[..., :13, :32], atol=1e-4, rtol=1e-4)


def test_the_examples_of_the_documentation_run(capsys):
    text = (Path(__file__).parents[2] / 'docs' / 'systems.md').read_text()
    examples = [part.split('```')[0] for part in text.split('```python\n')[1:]]
    exec(compile(examples[-1], 'docs/systems.md', 'exec'), {})
    shape = 'torch.Size([1, 360, 640])'
    assert capsys.readouterr().out == f'{shape} {shape}\n'
