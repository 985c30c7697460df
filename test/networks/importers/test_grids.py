"""Position tables follow the size of the training, with the official DINOv2 as the base."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from catalog_layouts import published_dinov2, published_reins
from records import head_sizes, label_set, layout

from dgss_core.commands.convert import convert_file
from dgss_core.errors import DgssError
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.conversion import SourceFacts, encoder_options
from dgss_core.networks.importers.keys import take_prefix

SIDE, PATCH = 37, 14
"""Of the grid and the patches of the official file."""


def base_of(record: dict) -> tuple[dict, dict]:
    """A DINOv2 in the form of the official file, and the options of its encoder."""
    torch.manual_seed(0)
    backbone, state = record['cfg']['backbone'], take_prefix(record['state_dict'], 'backbone.')
    width = backbone['embed_dim']
    base = {key: value for key, value in state.items() if not key.startswith('reins.')}
    base['pos_embed'] = torch.randn(1, 1 + SIDE * SIDE, width)
    base['patch_embed.proj.weight'] = torch.randn(width, 3, PATCH, PATCH)
    options = {
        'width': width,
        'depth': backbone['depth'],
        'heads': backbone['num_heads'],
        'taps': list(backbone['out_indices']),
    }
    return base, options


@pytest.fixture(params=['rein-dinov2-l', 'soma-dinov2-l'])
def published(request, shared: Path, tmp_path: Path) -> tuple[str, dict, dict]:
    """A small published file, its base beside it, and the options of `convert_file`."""
    record = torch.load(shared / 'parity' / 'rein_full_model.pt', weights_only=True)
    base, options = base_of(record)
    state, cfg = record['state_dict'], record['cfg']['decode_head']
    sizes = {**head_sizes(cfg), 'encoder_options': options}
    kept = ('backbone.reins.', 'decode_head.')
    small = {key: value for key, value in state.items() if key.startswith(kept)}
    if request.param == 'rein-dinov2-l':
        reins = record['cfg']['backbone']['reins_config']
        sizes |= {'tokens': reins['token_length'], 'rank': reins['lora_dim']}
    else:
        small = {key: v for key, v in small.items() if 'reins' not in key}
        small = {key: v for key, v in small.items() if 'querys2feat' not in key}
        for name in ('query_embed', 'query_feat'):
            small[f'decode_head.{name}.weight'] = torch.randn(10, cfg['feat_channels'])
        sizes['queries'] = 10
        width = options['width']
        for name in ('lora_A', 'lora_B'):
            shape = (2, width) if name == 'lora_A' else (width, 2)
            key = f'backbone.model.blocks.{options["depth"] - 1}.attn.proj.{name}.weight'
            small[key] = torch.randn(shape)
    torch.save(base, tmp_path / 'dinov2_vitl14_pretrain.pth')
    torch.save({'state_dict': small}, tmp_path / 'adapter.pth')
    sizes['label_set'] = label_set(cfg['num_classes'])
    return request.param, base, sizes


def converted(folder: Path, system: str, sizes: dict, name: str, image_size: int | None):
    source, output = folder / name, folder / 'ours.safetensors'
    if name != 'adapter.pth':
        (folder / 'adapter.pth').rename(source)
    base = folder / 'dinov2_vitl14_pretrain.pth'
    sizes = dict(sizes)
    labels = sizes.pop('label_set')
    convert_file(source, system, output, base, labels, facts=SourceFacts(image_size), **sizes)
    return load_checkpoint(output).encoder.embed


@pytest.mark.parametrize('image_size', [512, 1024])
def test_the_table_is_resampled_once_for_the_size_of_the_training(
    published, tmp_path: Path, image_size: int
) -> None:
    system, base, sizes = published
    embed = converted(tmp_path, system, sizes, 'adapter.pth', image_size)
    side = image_size // 16
    table = base['pos_embed'][:, 1:].transpose(1, 2).unflatten(2, (SIDE, SIDE))
    table = F.interpolate(table, size=(side, side), mode='bicubic').flatten(2).transpose(1, 2)
    assert embed.grid == (side, side)
    assert torch.allclose(embed.table[:, 1:], table, atol=1e-6)
    assert torch.equal(embed.table[:, :1], base['pos_embed'][:, :1])
    kernel = F.interpolate(base['patch_embed.proj.weight'], size=(16, 16), mode='bicubic')
    assert torch.allclose(embed.proj.weight, kernel, atol=1e-6)


def test_the_catalog_knows_the_size_of_a_file_by_its_name(published, tmp_path: Path) -> None:
    system, _, sizes = published
    names = {
        'rein-dinov2-l': 'citys2acdc_40k_rein_head.pth',
        'soma-dinov2-l': 'soma_dinov2-L_acdc_1024x1024_best.pth',
    }
    assert converted(tmp_path, system, sizes, names[system], None).grid == (64, 64)


def test_a_name_that_says_nothing_means_512(published, tmp_path: Path) -> None:
    system, _, sizes = published
    assert converted(tmp_path, system, sizes, 'adapter.pth', None).grid == (32, 32)


def encoder(patch: int, side: int) -> dict[str, torch.Tensor]:
    return {
        'encoder.embed.class_token': torch.zeros(1, 1, 4),
        'encoder.embed.table': torch.zeros(1, 1 + side * side, 4),
        'encoder.embed.proj.weight': torch.zeros(4, 3, patch, patch),
    }


def test_a_base_that_was_made_for_another_size_is_refused(tmp_path: Path) -> None:
    for side in (32, 64):
        options = encoder_options('rein-dinov2-l', encoder(16, side), side * 16)
        assert options['image_size'] == side * 16
    with pytest.raises(DgssError, match=r'for crops of 512 pixels.* had 1024; .*patch 14'):
        encoder_options('rein-dinov2-l', encoder(16, 32), 1024)
    # That of EVA-02 has patches of 16 pixels, and no table for a training here.
    assert encoder_options('rein-eva02-l', encoder(16, 14), 512)['image_size'] == 512
    with pytest.raises(DgssError, match='--image-size is for the encoder of --base'):
        convert_file(
            *(tmp_path / 'x.pth', 'vltseg-eva02-clip-l', tmp_path / 'x.safetensors', None),
            label_set(3),
            facts=SourceFacts(512),
        )


@pytest.mark.parametrize('image_size', [512, 1024])
def test_the_grid_at_full_size(shared: Path, image_size: int) -> None:
    from test_convert import fits_exactly

    head = layout(shared / 'parity' / 'rein_full_layout.txt')
    weights = head | published_reins()
    counts = fits_exactly('rein-dinov2-l', weights, published_dinov2(PATCH, SIDE), image_size)
    assert counts['grid'] == image_size // 16
