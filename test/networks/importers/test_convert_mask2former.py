"""Mask2Former on Swin: the layouts of transformers and of openmmlab, converted and compared."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from formula_weights import image
from library_encoders import assert_same, scatter
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
from transformers_systems import SWINS, mask2former, published_mask2former

from dgss_core.errors import DgssError
from dgss_core.networks.encoders.swin import SwinTransformer
from dgss_core.networks.importers.mask2former_transformers import import_mask2former
from dgss_core.networks.importers.swin import import_swin

CLASSES, QUERIES = 7, 9
ENCODER = {'width': 8, 'depths': [2, 2, 1, 1], 'heads': [1, 2, 2, 4], 'window': 3}
SMALL = {
    'width': 32,
    'mask_width': 32,
    'encoder_layers': 1,
    'encoder_heads': 2,
    'encoder_hidden': 16,
    'decoder_layers': 3,
    'decoder_heads': 2,
    'decoder_hidden': 24,
    'encoder_options': ENCODER,
}
HEIGHT, WIDTH = 61, 90


def test_a_state_dict_of_transformers_is_its_published_file() -> None:
    library = published_mask2former('t')
    ours, published = map(import_mask2former, (library.state_dict(), as_published(library)))
    assert ours.keys() == published.keys()
    assert all(ours[key].shape == published[key].shape for key in ours)


@torch.no_grad()
def test_equals_transformers(tmp_path: Path) -> None:
    model = mask2former(
        *ENCODER.values(),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        encoder_layers=1,
        decoder_layers=4,
        num_attention_heads=2,
        dim_feedforward=24,
        num_queries=QUERIES,
        num_labels=CLASSES,
    )
    weights = as_published(model)
    fill(weights)
    theirs = model(image(1, HEIGHT, WIDTH))
    scores = query_scores(theirs.class_queries_logits, theirs.masks_queries_logits)
    ours = converted(weights, 'mask2former-swin-t', tmp_path, CLASSES, **SMALL)
    assert (answer(ours, HEIGHT, WIDTH) - scores).abs().max() <= 1e-4
    assert scores.std(dim=(2, 3)).min() > 1e-3
    check_record('mask2former', weights, scores)


@pytest.mark.parametrize('name', ['mask2former', 'mask2former_openmmlab'])
def test_equals_the_record_of_a_library(name: str, tmp_path: Path) -> None:
    weights, scores = recorded(name)
    ours = converted(weights, 'mask2former-swin-t', tmp_path, CLASSES, **SMALL)
    assert abs(sampled(answer(ours, HEIGHT, WIDTH)) - scores).max() <= 1e-4


@pytest.mark.parametrize('size', SWINS)
def test_published_sizes_fit(size: str) -> None:
    library = published_mask2former(size)
    weights = as_published(library)
    model = fits(f'mask2former-swin-{size}', weights)
    # The last norm of the backbone is not in published files, and no map depends on it.
    unused = 2 * 8 * SWINS[size][0]
    trained = sum(parameter.numel() for parameter in library.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == trained - unused


@torch.no_grad()
def test_the_encoder_equals_timm() -> None:
    # Windows and squares divide all maps: where they do not, timm pads after the roll.
    size = (96, 192)
    theirs = timm.create_model(
        'swin_tiny_patch4_window7_224',
        img_size=size,
        window_size=3,
        embed_dim=8,
        depths=(2, 2, 1, 1),
        num_heads=(1, 2, 2, 4),
        num_classes=0,
        always_partition=True,
    )
    scatter(theirs)
    ours = SwinTransformer(**ENCODER, pad=False).eval()
    ours.load_pretrained(import_swin(theirs.state_dict()), 'timm')
    for norm in ours.norms:
        norm.register_forward_hook(lambda module, inputs, output: inputs[0])
    x = torch.randn(2, 3, *size)
    maps = theirs.forward_intermediates(x, intermediates_only=True)
    assert_same(ours(x), maps)


def test_other_files_are_refused() -> None:
    with pytest.raises(DgssError, match=r'no weights model\.pixel_level_module\.encoder'):
        import_mask2former({'class_predictor.weight': torch.zeros(1)})
    with pytest.raises(DgssError, match=r'not a Swin Transformer: unknown weights conv1'):
        import_swin({'conv1.weight': torch.zeros(1)})
