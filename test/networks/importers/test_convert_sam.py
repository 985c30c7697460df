"""Rein on SAM: the adapter and head of its file, and the official file of SAM as the base."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from published_sam import Shapes, official_sam
from records import head_sizes, label_set, layout
from torch import Tensor

from dgss_core.commands.convert import convert_file
from dgss_core.errors import DgssError
from dgss_core.networks.adapters.reins import Reins
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.conversion import encoder_options
from dgss_core.networks.encoders import build_encoder
from dgss_core.networks.encoders.positions import resample_offsets
from dgss_core.networks.encoders.vit import Grid
from dgss_core.networks.importers.keys import load_exactly
from dgss_core.networks.systems import build_system
from dgss_core.networks.systems.importers import import_system
from dgss_core.networks.systems.rein import refined_blocks
from dgss_core.networks.undrawn import Undrawn


def reins(layers: int) -> Shapes:
    shapes: Shapes = {
        'scale': (),
        'learnable_tokens_a': (layers, 100, 16),
        'learnable_tokens_b': (layers, 16, 1280),
        'transform.weight': (256, 1280),
        'transform.bias': (256,),
        'merge.weight': (256, 768),
        'merge.bias': (256,),
    }
    for name in ('mlp_token2feat', 'mlp_delta_f'):
        shapes |= {f'{name}.weight': (1280, 1280), f'{name}.bias': (1280,)}
    return {f'backbone.reins.{key}': shape for key, shape in shapes.items()}


def meta(shapes: Shapes) -> dict[str, Tensor]:
    return {key: torch.empty(shape, device='meta') for key, shape in shapes.items()}


def sam_file(path: Path) -> Path:
    """A small SAM in the official layout, for images of 128 pixels."""
    generator = torch.Generator().manual_seed(2)
    shapes = official_sam(width=48, depth=8, heads=4, grid=8)
    torch.save(
        {key: torch.randn(shape, generator=generator) * 0.1 for key, shape in shapes.items()}, path
    )
    return path


@pytest.mark.parametrize('layers', [32, 4])
def test_every_key_at_its_size(shared, layers):
    head = layout(shared / 'parity' / 'rein_full_layout.txt')
    for level in range(3):
        key = f'decode_head.pixel_decoder.input_convs.{level}.conv.weight'
        head[key] = torch.empty(256, 1280, 1, 1, device='meta')
    key = 'decode_head.pixel_decoder.lateral_convs.0.conv.weight'
    head[key] = torch.empty(256, 1280, 1, 1, device='meta')
    base = meta(official_sam(width=1280, depth=32, heads=16, grid=64))
    weights = import_system('rein-sam-h', head | meta(reins(layers)), base)
    options = encoder_options('rein-sam-h', weights)
    assert options['image_size'] == 1024
    with torch.device('meta'), Undrawn():
        model = build_system('rein-sam-h', encoder_options=options, **refined_blocks(weights))
    load_exactly(model, weights, 'the layout')
    refined = model.encoder.adapter.refined
    assert refined == ((7, 15, 23, 31) if layers == 4 else None)


@pytest.mark.parametrize('layers', [8, 4])
def test_a_published_file_and_its_base_become_a_checkpoint(shared, tmp_path, layers):
    record = torch.load(shared / 'parity' / 'rein_full_model.pt', weights_only=True)
    state = {
        key: value[:layers] if '.learnable_tokens_' in key else value
        for key, value in record['state_dict'].items()
        if key.startswith(('backbone.reins.', 'decode_head.'))
    }
    torch.save({'state_dict': state}, tmp_path / 'published.pth')
    convert_file(
        tmp_path / 'published.pth',
        'rein-sam-h',
        tmp_path / 'ours.safetensors',
        sam_file(tmp_path / 'sam.pth'),
        label_set(record['cfg']['decode_head']['num_classes']),
        encoder_options={'width': 48, 'depth': 8, 'heads': 4, 'taps': [1, 3, 5, 7]},
        tokens=10,
        rank=4,
        **head_sizes(record['cfg']['decode_head']),
    )
    model = load_checkpoint(tmp_path / 'ours.safetensors')
    images = torch.rand(1, 3, 96, 128) * 255
    encoder, adapter = model.encoder, Reins(layers, 48, tokens=10, rank=4, query_width=32)
    adapter.load_state_dict(encoder.adapter.state_dict())
    with torch.no_grad():
        x, *grid = encoder.embed(model.normalise(images))
        for index in range(6):  # The third map has the scale of the sixth block.
            x = encoder.blocks[index](x, Grid(*grid))
            if layers == 8:
                x = adapter(x, index)
            elif index in (1, 3, 5):
                x = adapter(x, (index - 1) // 2)
        torch.testing.assert_close(model.features(images)[2].flatten(2).transpose(1, 2), x)
        assert model.at_size(images).isfinite().all()


def test_tables_of_sam_are_resampled_to_the_crop_of_a_training(tmp_path):
    options = {'width': 48, 'depth': 8, 'heads': 4}
    file = sam_file(tmp_path / 'sam.pth')
    whole = build_encoder('sam-h', file, image_size=128, **options).eval()
    small = build_encoder('sam-h', file, image_size=64, **options).eval()
    assert len(small.blocks[1].attention.positions.rows) == 7
    table = whole.blocks[1].attention.positions.rows
    assert torch.equal(small.blocks[1].attention.positions.rows, resample_offsets(table, 7))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(whole(images), small(images), strict=True):
            torch.testing.assert_close(a, b)


def test_the_base_is_needed():
    with pytest.raises(DgssError, match='--base'):
        import_system('rein-sam-h', meta(reins(32) | {'decode_head.cls_embed.weight': (20, 256)}))
