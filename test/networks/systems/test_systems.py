"""Every system: its published size, and common tests of all systems at a reduced size."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from contract import ModelContract, fill, images, labels
from small_systems import DISTINCT, small
from torch import nn

from dgss_core import plugins
from dgss_core.cli import main
from dgss_core.commands.models import describe
from dgss_core.errors import DgssError
from dgss_core.networks.adapters.lora import merge_lora
from dgss_core.networks.adapters.reins import Reins, StageReins
from dgss_core.networks.encoders import ENCODERS
from dgss_core.networks.encoders.registry import DINOV3, NVIDIA
from dgss_core.networks.inference import Inference
from dgss_core.networks.systems import SYSTEMS, SegmentationModel, build_system, systems
from dgss_core.networks.undrawn import Undrawn

TRAINED = {
    'famix': r'head\..*|encoder\.layer4\.1\..*',
    'rein': r'head\..*|encoder\.adapter\..*',
    'vltseg': r'.*',
    'clouds': r'head\..*',
    'soma': r'head\..*|encoder\.blocks\.[123]\..*\.(q|k|v|proj|fc1|fc2)\.(lora_[ab]|bias)',
    'eomt': r'.*',
    'mask2former': r'.*',
    'segformer': r'.*',
    **dict.fromkeys(('pidnet', 'ddrnet', 'bisenetv2'), r'.*'),
    'dgss': r'head\..*|encoder\.blocks\.\d\.attention\.[qkv]\.lora_[ab]',
    'dgss-query': r'head\.(?!block\.).*|(head\.block|encoder\.blocks\.\d).*\.lora_[ab]',
    'dgss-mobilenetv2': r'.*',
}


def filled(name: str) -> SegmentationModel:
    return fill(small(name))


class TestPublishedSizes:
    @pytest.mark.parametrize(
        ('name', 'head', 'total'),
        [
            ('rein-dinov2-l', 20_579_796, 327_766_485),
            ('vltseg-eva02-clip-l', 20_565_204, 337_534_100),
            ('clouds-convnext-l', 20_253_908, 216_481_172),
            ('famix-rn50', 16_253_299, 39_780_563),
            ('dgss-dinov2-l', 6_825_491, 315_740_691),
            ('dgss-dinov2-l-query', 17_905_172, 314_025_492),
            ('dgss-mobilenetv2', 177_171, 1_989_971),
        ],
    )
    def test_parameters(self, name, head, total):
        with torch.device('meta'), Undrawn():
            model = build_system(name)
        assert sum(p.numel() for p in model.head.parameters()) == head
        assert sum(p.numel() for p in model.parameters()) == total

    @pytest.mark.parametrize(
        ('name', 'adapter'), [('rein-dinov2-l', 2_990_081), ('rein-sam-h', 4_510_721)]
    )
    def test_rein_trains_adapter_and_head_only(self, name, adapter):
        with torch.device('meta'), Undrawn():
            model = build_system(name)
        count = sum(p.numel() for p in model.encoder.adapter.parameters())
        assert count == adapter
        head = sum(p.numel() for p in model.head.parameters())
        assert describe(name)['trained'] == adapter + head

    def test_soma_of_the_paper(self):
        adapters = 4 * 16 * (1024 + 1024) + 2 * 16 * (1024 + 4096)
        biases = 4 * 1024 + 4096 + 1024
        assert describe('soma-dinov2-l')['trained'] == 16 * (adapters + biases) + 20_565_204

    def test_lora_of_the_paper(self):
        lora = 24 * 3 * 32 * (1024 + 1024)
        assert describe('dgss-dinov2-l')['trained'] == lora + 6_825_491


def test_unknown_names_offer_the_nearest():
    with pytest.raises(DgssError, match='rein-dinov2-l'):
        build_system('rein-dinov2-xl')


PLUGIN = """
from dgss_core.networks.encoders.mobilenetv2 import MobileNetV2

def build(weights=None, **options):
    return MobileNetV2()
"""


def test_an_encoder_of_a_plugin_is_a_system_with_a_licence(tmp_path, monkeypatch):
    installed = tmp_path / 'other_package-1.0.dist-info'
    installed.mkdir()
    (installed / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n'
    )
    (installed / 'entry_points.txt').write_text('[dgss.encoders]\nfast = other_package:build\n')
    (tmp_path / 'other_package.py').write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    plugins.plugins.cache_clear()
    try:
        system = systems()['dgss-fast']
        assert system.weights_licence == 'see its package'
        assert build_system('dgss-fast').encoder.strides == (4, 8, 16, 32)
    finally:
        plugins.plugins.cache_clear()


def test_every_encoder_states_the_licence_of_its_weights():
    assert {entry.licence for entry in ENCODERS.values()} == {'MIT', 'Apache-2.0', NVIDIA, DINOV3}


def test_models_are_listed(capsys):
    assert main(['models', '--json']) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row['name'] for row in rows] == list(SYSTEMS)
    assert rows[0]['size_multiple'] == 16
    licences = {row['name']: row['weights_licence'] for row in rows}
    assert (licences['rein-dinov2-l'], licences['famix-rn50']) == ('Apache-2.0', 'MIT')
    assert main(['models']) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in SYSTEMS)
    assert '327.77' in table


GOLDEN = {
    'famix-rn50': (-0.1134, -0.2534, -0.2147, 0.2298),
    'famix-rn101': (-0.1134, -0.2534, -0.2147, 0.2298),
    'rein-dinov2-s': (0.0214, 0.8770, 0.0483, 0.5320),
    'rein-dinov2-b': (0.0214, 0.8770, 0.0483, 0.5320),
    'rein-dinov2-l': (0.0214, 0.8770, 0.0483, 0.5320),
    'rein-eva02-l': (0.5579, 0.4861, 0.2462, 0.4382),
    'rein-clip-l': (0.0437, 0.4223, 0.3425, 0.6732),
    'rein-sam-h': (0.0683, 0.6106, 0.0127, 0.4478),
    'rein-resnet50': (0.0206, 0.0493, 0.0433, 0.4577),
    'rein-convnext-l': (0.0722, 0.6372, 0.0720, 0.5681),
    'vltseg-eva02-clip-l': (0.0130, 0.1065, 0.0238, 0.5619),
    'vltseg-clip-b': (0.0100, 0.0204, 0.0248, 0.5040),
    'vltseg-clip-l': (0.1741, 0.1988, 0.0200, 0.8891),
    'clouds-convnext-l': (0.0208, 0.1920, 0.1730, 0.4517),
    'clouds-rn50': (0.1581, 0.6370, 1.6803, 0.4416),
    'clouds-rn101': (0.1581, 0.6370, 1.6803, 0.4416),
    'soma-dinov2-l': (0.2388, 0.2004, 0.0072, 0.4638),
    'eomt-dinov2-s': (0.4254, 0.0558, 0.4698, 0.3461),
    'mask2former-swin-t': (2.0131, 0.1576, 0.1670, 0.5278),
    'segformer-b0': (0.1195, -1.0890, 2.2372, 1.1416),
    'pidnet-s': (0.3894, 3.4747, 1.3589, 1.9193),
    'pidnet-m': (0.3894, 3.4747, 1.3589, 1.9193),
    'pidnet-l': (10.4482, -12.3027, 5.2273, 10.9623),
    'ddrnet-23-slim': (-7.2408, 0.5569, -8.5113, 6.4556),
    'ddrnet-23': (-7.2408, 0.5569, -8.5113, 6.4556),
    'bisenetv2': (0.0135, -0.0630, 0.2524, 0.1864),
    'bisenetv2-coincheung': (0.0538, -0.0978, 0.1337, 0.1909),
    'dgss-dinov2-s': (-0.0692, -0.1604, 0.0914, 0.2388),
    'dgss-dinov2-b': (-0.0692, -0.1604, 0.0914, 0.2388),
    'dgss-dinov2-l': (-0.0692, -0.1604, 0.0914, 0.2388),
    'dgss-eva02-clip-l': (0.0715, -0.0508, -0.2807, 0.2226),
    'dgss-clip-l': (-0.1590, 0.0635, -0.2373, 0.2704),
    'dgss-dinov2-s-query': (0.9570, 0.7612, 0.2774, 0.3077),
    'dgss-dinov2-b-query': (0.9570, 0.7612, 0.2774, 0.3077),
    'dgss-dinov2-l-query': (0.9570, 0.7612, 0.2774, 0.3077),
    'dgss-eva02-clip-l-query': (0.1735, 0.5937, 0.2042, 0.2924),
    'dgss-clip-l-query': (0.2249, 0.2500, 1.2545, 0.2674),
    'dgss-mobilenetv2': (0.6828, -0.2307, 1.2813, 0.5285),
}


@pytest.mark.parametrize('name', DISTINCT)
class TestSystems(ModelContract):
    golden = GOLDEN

    def build(self, name: str) -> SegmentationModel:
        return small(name)

    def test_exactly_the_published_parts_are_trained(self, name):
        model = small(name)
        kind = 'dgss-query' if name.endswith('-query') else name
        trained = TRAINED.get(kind, TRAINED[name.split('-')[0]])
        for key, parameter in model.named_parameters():
            assert bool(re.fullmatch(trained, key)) == parameter.requires_grad, key


@pytest.mark.parametrize('name', ['pidnet-s', 'ddrnet-23-slim', 'bisenetv2'])
def test_auxiliary_heads_learn_and_do_not_change_the_scores(name):
    model = small(name, auxiliary=True).train()
    losses = model.loss(images(), labels())
    sum(losses.values()).backward()
    assert len(losses) > 1
    assert all(p.grad is not None for p in model.head.parameters())
    plain = small(name).eval()
    weights = model.state_dict()
    plain.load_state_dict({key: weights[key] for key in plain.state_dict()})
    with torch.no_grad():
        assert torch.equal(plain(images()), model.eval()(images()))


def test_masks_are_resized_before_their_sigmoid():
    """Only for Mask2Former do scores at a size differ from resized scores."""
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


def test_prefix_tokens_of_eomt_reach_its_head_and_are_no_map():
    model = filled('eomt-dinov2-s')
    with torch.no_grad():
        maps, scores = model.features_and_scores(images())
        image, prefix = model.features(images())
        assert [x.shape for x in maps] == [image.shape] == [(2, 32, 4, 6)]
        assert prefix.shape == (2, 5, 32)
        assert not torch.allclose(model.scores([image, -prefix]), scores)


def test_famix_trains_the_last_stage():
    model = small('famix-rn50', train='last_stage').train()
    model.loss(images(96, 96), labels(96, 96))['ce'].backward()
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
    inference = Inference(window=(48, 48), stride=(32, 32))
    scores = inference(model.at_size, images(61, 90))
    assert scores.shape == (2, 19, 61, 90)
    with torch.no_grad():
        corner = model.at_size(images(61, 90)[..., :48, :48])
    torch.testing.assert_close(scores[..., :13, :32], corner[..., :13, :32], atol=1e-4, rtol=1e-4)


def test_the_examples_of_the_documentation_run(capsys):
    text = (Path(__file__).parents[3] / 'docs' / 'systems.md').read_text()
    examples = [part.split('```')[0] for part in text.split('```python\n')[1:]]
    exec(compile(examples[-1], 'docs/systems.md', 'exec'), {})
    shape = 'torch.Size([1, 360, 640])'
    assert capsys.readouterr().out == f'{shape} {shape}\n'


@pytest.mark.parametrize('name', ['rein-dinov2-s', 'dgss-dinov2-s', 'dgss-dinov2-s-query'])
def test_kept_tokens_need_a_head_that_takes_them(name):
    model = small(name)
    model.encoder.keep_prefix = True
    with pytest.raises(DgssError, match='set keep_prefix of the encoder to False'):
        SegmentationModel(model.encoder, model.head, model.label_set)


@pytest.mark.parametrize('refined', [(0, 4), (-1,), (1, 1), ()])
def test_rein_refines_different_blocks_that_exist(refined):
    with pytest.raises(DgssError, match='this ViT has the blocks 0 to 3'):
        small('rein-dinov2-s', refined=refined)
    assert small('rein-dinov2-s', refined=(3, 1)).encoder.adapter.layers == 2


def test_rein_refines_chosen_blocks_of_plain_vits_only():
    with pytest.raises(DgssError, match=r'this encoder is none: .* leave refined out'):
        small('rein-resnet50', refined=(0,))
