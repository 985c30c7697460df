"""SoMA's checkpoints: adapters and biases for a DINOv2, merged during conversion."""

from __future__ import annotations

import pytest
import torch
from records import head_sizes, label_set

from dgss_core.commands.convert import convert_file
from dgss_core.errors import DgssError
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.encoders.vits import dinov2
from dgss_core.networks.importers.encoders import import_dinov2
from dgss_core.networks.systems.importers import soma_system


@pytest.mark.parametrize('moved', [False, True])
@torch.no_grad()
def test_soma_on_the_recorded_dinov2(shared, tmp_path, moved):
    """Untrained adapters give the recorded DINOv2; trained ones add their change to it."""
    dino = torch.load(shared / 'parity' / 'rein_dinov2_plain.pt', weights_only=True)
    other = torch.load(shared / 'parity' / 'vltseg_full_model.pt', weights_only=True)
    base, kwargs, sizes = (
        dino['state_dict'],
        dino['kwargs'],
        head_sizes(other['cfg']['decode_head']),
    )
    head = {k: v for k, v in other['state_dict'].items() if k.startswith('decode_head.')}
    adapters, expected, rank = {}, dict(base), 3
    for block in range(kwargs['depth'] // 3, kwargs['depth']):
        q, k, v = base[f'blocks.{block}.attn.qkv.weight'].chunk(3)
        linears = {'attn.q': q, 'attn.k': k, 'attn.v': v}
        for name in ('attn.proj', 'mlp.fc1', 'mlp.fc2'):
            linears[name] = base[f'blocks.{block}.{name}.weight']
        for name, weight in linears.items():
            left, values, right = torch.linalg.svd(weight, full_matrices=False)
            root = values[-rank:].sqrt()
            down, up = root[:, None] * right[-rank:], left[:, -rank:] * root
            change = torch.zeros_like(up) if not moved else torch.full_like(up, 0.5)
            linears[name] = weight + change @ down
            prefix = f'backbone.model.blocks.{block}.{name}.'
            adapters |= {f'{prefix}lora_A.weight': down, f'{prefix}lora_B.weight': up + change}
        qkv = torch.cat([linears.pop(f'attn.{part}') for part in 'qkv'])
        expected[f'blocks.{block}.attn.qkv.weight'] = qkv
        expected |= {f'blocks.{block}.{name}.weight': w for name, w in linears.items()}
    torch.save({'state_dict': adapters | head}, tmp_path / 'soma.pth')
    torch.save(base, tmp_path / 'base.pth')
    encoder = {
        'width': kwargs['embed_dim'],
        'depth': kwargs['depth'],
        'heads': kwargs['num_heads'],
        'image_size': kwargs['img_size'],
        'taps': list(kwargs['out_indices']),
    }
    output, labels = tmp_path / 'soma.safetensors', label_set(5)
    sizes |= {'queries': 10, 'encoder_options': encoder}
    convert_file(
        tmp_path / 'soma.pth', 'soma-dinov2-l', output, tmp_path / 'base.pth', labels, **sizes
    )
    model = load_checkpoint(output)
    plain = dinov2(**encoder, pad=False).eval()
    plain.load_pretrained(import_dinov2(expected), 'the record')
    x = dino['inputs']['x']
    wanted = plain(x) if moved else dino['outputs']['x']
    for ours, theirs in zip(model.encoder(x), wanted, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5
    assert moved == bool((wanted[-1] - dino['outputs']['x'][-1]).abs().max() > 1e-2)
    assert model.at_size(torch.rand(1, 3, 64, 96) * 255).shape == (1, 5, 64, 96)
    with pytest.raises(DgssError, match='leaves the frozen encoder out'):
        convert_file(
            tmp_path / 'soma.pth', 'soma-dinov2-l', tmp_path / 'x.safetensors', None, labels
        )


def test_soma_adapters_are_merged_on_top_of_the_base():
    """Unchanged directions come from the base; changes of training are added to it."""
    torch.manual_seed(0)
    base = {
        'cls_token': torch.randn(1, 1, 6),
        'pos_embed': torch.randn(1, 5, 6),
        'patch_embed.proj.weight': torch.randn(6, 3, 2, 2),
        'patch_embed.proj.bias': torch.randn(6),
        'blocks.0.mlp.fc1.weight': torch.randn(8, 6),
        'blocks.0.mlp.fc1.bias': torch.randn(8),
    }
    weight = base['blocks.0.mlp.fc1.weight']
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    root = values[-2:].sqrt()
    lora_a, lora_b = root[:, None] * right[-2:], left[:, -2:] * root
    prefix = 'backbone.model.blocks.0.mlp.fc1.'
    small = {
        f'{prefix}lora_A.weight': lora_a,
        f'{prefix}lora_B.weight': 2 * lora_b,
        f'{prefix}bias': torch.ones(8),
        'decode_head.mask_embed.0.bias': torch.zeros(6),
    }
    merged = soma_system(small, base)
    expected = weight + lora_b @ lora_a
    assert torch.allclose(merged['encoder.blocks.0.mlp.fc1.weight'], expected, atol=1e-5)
    assert torch.equal(merged['encoder.blocks.0.mlp.fc1.bias'], torch.ones(8))
    assert not [key for key in merged if 'lora' in key]
    full = {f'backbone.model.{key}': value for key, value in base.items()}
    full[f'{prefix}weight'] = weight - lora_b @ lora_a
    again = soma_system(full | small)
    assert torch.allclose(again['encoder.blocks.0.mlp.fc1.weight'], expected, atol=1e-5)
    with pytest.raises(DgssError, match='leaves the frozen encoder out'):
        soma_system(small)
