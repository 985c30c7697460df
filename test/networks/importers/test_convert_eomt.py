"""EoMT: the layouts of its authors and of transformers, converted and compared with both."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from authors_eomt import AuthorsEomt
from formula_weights import image
from library_systems import (
    answer,
    as_published,
    check_record,
    converted,
    fill,
    fits,
    query_scores,
    recorded,
    sampled,
)
from safetensors.torch import save_file

from dgss_core.errors import DgssError
from dgss_core.networks.heads.eomt import EomtHead
from dgss_core.networks.importers.eomt import import_eomt
from dgss_core.networks.importers.keys import Weights
from dgss_core.networks.systems import build_system
from dgss_core.networks.undrawn import Undrawn

CLASSES, QUERIES, BLOCKS = 7, 9, 2
SMALL = {
    'blocks': BLOCKS,
    'encoder_options': {'width': 32, 'depth': 4, 'heads': 2, 'taps': [1]},
}
SIZES = {'s': (384, 12, 6), 'b': (768, 12, 12), 'l': (1024, 24, 16)}


def as_file(model: AuthorsEomt) -> Weights:
    """As lightning writes it: the network and the loss."""
    weights = {f'network.{key}': value for key, value in model.state_dict().items()}
    return weights | {'criterion.empty_weight': torch.ones(CLASSES + 1)}


def of_transformers(width: int, depth: int, heads: int, **options):
    transformers = pytest.importorskip('transformers')
    config = transformers.EomtConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        patch_size=16,
        **options,
    )
    return transformers.EomtForUniversalSegmentation(config).eval()


@torch.no_grad()
def test_equals_transformers(tmp_path: Path) -> None:
    model = of_transformers(
        32, 4, 2, image_size=64, num_blocks=BLOCKS, num_queries=QUERIES, num_labels=CLASSES
    )
    weights = as_published(model)
    fill(weights)
    theirs = model(image(1, 64, 64))
    scores = query_scores(theirs.class_queries_logits, theirs.masks_queries_logits)
    ours = converted(weights, 'eomt-dinov2-s', tmp_path, CLASSES, **SMALL)
    assert (answer(ours, 64, 64) - scores).abs().max() <= 1e-4
    assert scores.std(dim=(2, 3)).min() > 1e-3
    check_record('eomt', weights, scores)


def test_equals_the_record_of_transformers(tmp_path: Path) -> None:
    weights, scores = recorded('eomt')
    ours = converted(weights, 'eomt-dinov2-s', tmp_path, CLASSES, **SMALL)
    assert abs(sampled(answer(ours, 64, 64)) - scores).max() <= 1e-4


@torch.no_grad()
def test_equals_the_network_of_its_authors(tmp_path: Path) -> None:
    model = AuthorsEomt(
        'small', CLASSES, QUERIES, BLOCKS, img_size=64, embed_dim=32, depth=4, num_heads=2
    ).eval()
    fill(model.state_dict())
    scores = query_scores(*model(image(1, 64, 64)))
    ours = converted(as_file(model), 'eomt-dinov2-s', tmp_path, CLASSES, **SMALL)
    assert (answer(ours, 64, 64) - scores).abs().max() <= 1e-4
    assert ours.head.queries.shape == (QUERIES, 32)
    assert ours.encoder.embed.grid == (4, 4)


def test_a_training_continues_with_the_last_norm_of_the_vit(tmp_path: Path) -> None:
    sizes = {'embed_dim': 32, 'depth': 4, 'num_heads': 2, 'img_size': 64}
    vit = timm.create_model('vit_small_patch14_reg4_dinov2', num_classes=0, **sizes)
    torch.nn.init.normal_(vit.norm.weight)
    torch.nn.init.normal_(vit.norm.bias)
    save_file(vit.state_dict(), tmp_path / 'vit.safetensors')
    options = {'width': 32, 'depth': 4, 'heads': 2, 'taps': (1,), 'patch': 14, 'image_size': 64}
    model = build_system(
        'eomt-dinov2-s', weights=tmp_path / 'vit.safetensors', encoder_options=options, blocks=2
    )
    torch.testing.assert_close(model.head.norm.state_dict(), vit.norm.state_dict())


@pytest.mark.parametrize('size', SIZES)
def test_published_sizes_fit(size: str) -> None:
    names = {'s': 'small', 'b': 'base', 'l': 'large'}
    with torch.device('meta'), Undrawn():
        authors = AuthorsEomt(names[size], 19, 100, img_size=1024)
        library = of_transformers(*SIZES[size], image_size=1024, num_queries=100, num_labels=19)
    for weights in (as_file(authors), as_published(library)):
        model = fits(f'eomt-dinov2-{size}', weights)
        assert model.encoder.embed.grid == (64, 64)
        assert isinstance(model.head, EomtHead)
        assert len(model.head.blocks) == 4
    trained = sum(parameter.numel() for parameter in authors.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == trained


def test_other_files_are_refused() -> None:
    plain = {'network.encoder.backbone.cls_token': torch.zeros(1, 1, 8)}
    with pytest.raises(DgssError, match='on DINOv2 with registers'):
        import_eomt(plain | {'network.q.weight': torch.zeros(2, 8)})
    with pytest.raises(DgssError, match=r'not a checkpoint of EoMT: unknown weights decode_head'):
        import_eomt({'decode_head.conv.weight': torch.zeros(1)})
