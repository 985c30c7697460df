"""Checkpoints, encoders and style banks whose descriptions are wrong or name code."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch
from canary import Canary
from safetensors.torch import load_file, save_file

from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import About, load_checkpoint, save_checkpoint
from dgss_core.networks.encoders.stages import StagedEncoder
from dgss_core.networks.encoders.weights import read_weights
from dgss_core.networks.systems import build_system
from dgss_core.training.styles import StyleBank

CITYSCAPES = LabelSet.load('cityscapes19')


@pytest.fixture(scope='module')
def metadata(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A checkpoint, and its description."""
    from safetensors import safe_open

    path = tmp_path_factory.mktemp('checkpoint') / 'model.safetensors'
    sizes = {'width': 8}
    model = build_system('dgss-mobilenetv2', **sizes)
    save_checkpoint(model, path, About('dgss-mobilenetv2', sizes))
    with safe_open(path, framework='pt') as file:
        return path, dict(file.metadata())


def test_the_checkpoint_of_these_tests_is_read(metadata: tuple[Path, dict[str, str]]) -> None:
    load_checkpoint(metadata[0])


@pytest.mark.parametrize('value', [float('nan'), float('inf'), torch.int32])
def test_weights_that_are_no_numbers_are_named(
    value: float | torch.dtype, metadata: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    weights = load_file(metadata[0])
    name = next(key for key, x in weights.items() if x.is_floating_point())
    if isinstance(value, float):
        weights[name].view(-1)[0] = value
    else:
        weights[name] = weights[name].to(value)
    save_file(weights, tmp_path / 'bad.safetensors', metadata[1])
    with pytest.raises(DgssError, match=f'is no usable checkpoint: {name} is') as caught:
        load_checkpoint(tmp_path / 'bad.safetensors')
    assert ('int32' if value is torch.int32 else 'not finite') in str(caught.value)


@pytest.mark.parametrize(
    'changes',
    [
        {'sizes': '[' * 100_000},
        {'sizes': '[]'},
        {'sizes': '7'},
        {'sizes': '{"width": NaN}'},
        {'sizes': '{"width": 8, "width": 9}'},
        {'sizes': '{"width": "8"}'},
        {'sizes': '{"width": -8}'},
        {'sizes': '{"width": 1000000000000}'},
        {'sizes': '{"nothing": 1}'},
        {'sizes': '{"label_set": "cityscapes19"}'},
        {'sizes': '{"weights": "timm:resnet50"}'},
        {'sizes': '{"encoder_options": {"weights": "timm:resnet50"}}'},
        {'sizes': '{"encoder_options": []}'},
        {'sizes': '{"encoder_options": 7}'},
        {'label_set': '[]'},
        {'label_set': '"cityscapes19"'},
        {'label_set': '{"name": "x", "labels": 7}'},
        {'system': 'x' * 100_000},
        {'schema': 'x' * 100_000},
    ],
    ids=lambda changes: str(changes)[:50],
)
def test_a_wrong_description_ends_in_one_sentence(
    changes: dict[str, str], metadata: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    path = tmp_path / 'model.safetensors'
    save_file(load_file(metadata[0]), path, metadata[1] | changes)
    with pytest.raises(DgssError) as caught:
        load_checkpoint(path)
    assert '\n' not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_no_text_of_a_description_is_imported(
    metadata: tuple[Path, dict[str, str]], tmp_path: Path, canary: Canary
) -> None:
    path = tmp_path / 'model.safetensors'
    tensors = load_file(metadata[0])
    free = ('source', 'source_sha256', 'licence')
    for name in canary.names:
        spec = {'class_path': name, 'init_args': {}}
        for text in (name, json.dumps(name), json.dumps(spec), json.dumps({'width': spec})):
            save_file(tensors, path, metadata[1] | dict.fromkeys(free, text))
            load_checkpoint(path)
            for key in metadata[1].keys() - {*free}:
                save_file(tensors, path, metadata[1] | {key: text})
                with pytest.raises(DgssError):
                    load_checkpoint(path)
        for weights in (name, f'timm:{name}', f'open_clip:{name}/{name}', f'plugin:{name}'):
            with pytest.raises(DgssError):
                read_weights(weights)
    assert not canary.sang


@pytest.mark.parametrize(
    'options',
    [
        {'checkpoint_path': 'evil.pth'},
        {'pretrained': True},
        {'pretrained_cfg': {'file': 'evil.pth'}},
        {'pretrained_cfg_overlay': {'hf_hub_id': 'evil/model'}},
        {'cache_dir': '/tmp'},
        {'name': 'hf-hub:evil/model'},
        {'name': 'local-dir:/tmp'},
        {'name': ['resnet50']},
        {'block': 'canary_module.Call'},
        {'act_layer': ['canary_module.Call']},
    ],
    ids=str,
)
def test_an_option_of_an_encoder_loads_nothing(
    options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({'x': torch.zeros(1)}, 'evil.pth')
    with pytest.raises(DgssError, match=r'takes no|has no network'):
        StagedEncoder(**{'name': 'resnet50', 'size_multiple': 1, **options})


@pytest.mark.parametrize(
    'tensors',
    [
        {'nothing': torch.zeros(1, 2, 4)},
        {'road': torch.zeros(4)},
        {'road': torch.zeros(0, 2, 4)},
        {'road': torch.zeros(1, 3, 4)},
        {'road': torch.zeros(1, 2, 4), 'sky': torch.zeros(1, 2, 8)},
        {},
    ],
    ids=lambda tensors: ', '.join(f'{k} {tuple(x.shape)}' for k, x in tensors.items()),
)
def test_a_damaged_style_bank_is_refused(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / 'bank.safetensors'
    about = {'schema': 'dgss-styles/1', 'label_set': 'cityscapes19', 'encoder': 'clip-rn50'}
    save_file(tensors, path, about)
    with pytest.raises(DgssError, match='is a damaged style bank'):
        StyleBank.load(path, CITYSCAPES, 'clip-rn50')
    save_file({'road': torch.zeros(1, 2, 4)}, path, about)
    assert list(StyleBank.load(path, CITYSCAPES, 'clip-rn50').styles) == [0]


def test_a_library_that_cannot_be_imported_is_no_fault_of_a_file(
    metadata: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'without_a_name.py').write_text("{}['getpwuid(): uid not found']")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        'dgss_core.networks.checkpoint.build_system',
        lambda *_, **__: importlib.import_module('without_a_name'),
    )
    with pytest.raises(KeyError, match='getpwuid'):
        load_checkpoint(metadata[0])
