"""SegFormer: the layouts of transformers and of openmmlab, converted and compared."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from formula_weights import image
from library_systems import (
    answer,
    as_published,
    check_record,
    converted,
    fill,
    fits,
    recorded,
    sampled,
)
from safetensors.torch import save_file
from torch import nn
from transformers_systems import published_segformer, segformer

from dgss_core.errors import DgssError
from dgss_core.networks.encoders import build_encoder
from dgss_core.networks.importers.segformer import import_mit, import_segformer
from dgss_core.networks.systems import SYSTEMS

CLASSES = 7
ENCODER = {'widths': [8, 16, 24, 32], 'depths': [1, 1, 2, 1], 'heads': [1, 2, 3, 4]}
SMALL = {'width': 16, 'encoder_options': ENCODER}
HEIGHT, WIDTH = 61, 90


@torch.no_grad()
def test_equals_transformers(tmp_path: Path) -> None:
    model = segformer(*ENCODER.values(), 16, CLASSES)
    weights = as_published(model)
    fill(weights)
    scores = model(image(1, HEIGHT, WIDTH)).logits
    ours = converted(weights, 'segformer-b0', tmp_path, CLASSES, **SMALL)
    assert (answer(ours, HEIGHT, WIDTH) - scores).abs().max() <= 1e-4
    assert scores.std() > 0.1
    check_record('segformer', weights, scores)


@torch.no_grad()
def test_a_state_dict_of_transformers_is_its_published_file(tmp_path: Path) -> None:
    model = segformer(*ENCODER.values(), 16, CLASSES)
    weights = model.state_dict()
    fill(weights)
    scores = model(image(1, HEIGHT, WIDTH)).logits
    ours = converted(weights, 'segformer-b0', tmp_path, CLASSES, **SMALL)
    assert (answer(ours, HEIGHT, WIDTH) - scores).abs().max() <= 1e-4
    encoder = {key: x for key, x in weights.items() if key.startswith('segformer.')}
    save_file(encoder, tmp_path / 'mit.safetensors')
    mit = build_encoder('mit-b0', tmp_path / 'mit.safetensors', **ENCODER)
    assert mit.state_dict().keys() == ours.encoder.state_dict().keys()
    for key, value in ours.encoder.state_dict().items():
        assert torch.equal(mit.state_dict()[key], value)


@pytest.mark.parametrize('system', ['segformer-b0', 'vltseg-eva02-clip-l'])
def test_a_file_of_another_system_is_named(system: str, tmp_path: Path) -> None:
    with pytest.raises(DgssError) as caught:
        converted({'alien.weight': torch.ones(2)}, system, tmp_path, CLASSES)
    assert str(caught.value).startswith(f'{tmp_path / "theirs.bin"} is not a checkpoint of ')


def test_an_encoder_file_of_another_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'alien.safetensors'
    save_file({'alien.weight': torch.ones(2)}, path)
    with pytest.raises(DgssError) as caught:
        build_encoder('mit-b0', path)
    assert str(caught.value).startswith(f'{path} is not a MiT encoder: unknown weights alien.')


@pytest.mark.parametrize('name', ['segformer', 'segformer_openmmlab'])
def test_equals_the_record_of_a_library(name: str, tmp_path: Path) -> None:
    weights, scores = recorded(name)
    ours = converted(weights, 'segformer-b0', tmp_path, CLASSES, **SMALL)
    assert abs(sampled(answer(ours, HEIGHT, WIDTH)) - scores).max() <= 1e-4


@pytest.mark.parametrize('size', range(6))
def test_published_sizes_fit(size: int) -> None:
    library = published_segformer(size)
    model = fits(f'segformer-b{size}', as_published(library))
    trained = sum(parameter.numel() for parameter in library.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == trained


def test_the_encoder_is_found_in_every_file() -> None:
    for name, prefix in (('segformer', 'segformer.'), ('segformer_openmmlab', 'backbone.')):
        whole, _ = recorded(name)
        encoder = {key: value for key, value in whole.items() if key.startswith(prefix)}
        bare = {key.removeprefix(prefix): value for key, value in encoder.items()}
        if name == 'segformer':
            encoder['classifier.weight'] = torch.ones(2, 2)
        expected = {
            key.removeprefix('encoder.')
            for key in import_segformer(whole)
            if key.startswith('encoder.')
        }
        assert import_mit(encoder).keys() == import_mit(bare).keys() == expected


@pytest.mark.parametrize(
    ('name', 'prefix', 'eps'),
    [('segformer', 'segformer.', 1e-5), ('segformer_openmmlab', 'backbone.', 1e-6)],
)
def test_the_norms_of_an_encoder_are_those_of_its_library(
    name: str, prefix: str, eps: float, tmp_path: Path
) -> None:
    whole, _ = recorded(name)
    bare = {k.removeprefix(prefix): v for k, v in whole.items() if k.startswith(prefix)}
    save_file(bare, tmp_path / 'mit.safetensors')
    encoder = build_encoder('mit-b0', tmp_path / 'mit.safetensors', **ENCODER)
    assert {m.eps for m in encoder.modules() if isinstance(m, nn.LayerNorm)} == {eps}
    again = build_encoder('mit-b0', **ENCODER, **encoder.form)
    assert again.norms[0].eps == eps


def test_other_files_are_refused() -> None:
    with pytest.raises(DgssError, match=r'no decode_head\.fusion_conv'):
        import_segformer({'decode_head.conv.weight': torch.zeros(1)})
    with pytest.raises(DgssError, match='No library downloads weights'):
        build_encoder(SYSTEMS['segformer-b0'].encoder, 'pretrained')
