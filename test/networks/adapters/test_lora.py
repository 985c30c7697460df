"""LoRA and SoMA inside our encoders: what they train, and that they merge."""

from __future__ import annotations

import pytest
import torch
from adapted import TARGETS, VITS, built, disturb, trained
from formula_weights import image
from torch import nn

from dgss_core.errors import DgssError
from dgss_core.networks.adapters.freezing import POLICIES, freeze
from dgss_core.networks.adapters.lora import LoRALinear, add_lora, add_soma, merge_lora
from dgss_core.networks.encoders.stages import StagedEncoder
from dgss_core.networks.importers.adapters import import_soma


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize('name', VITS)
def test_lora_starts_at_zero_trains_alone_and_merges(name):
    encoder, x = built(name), image(1, 64, 96)
    freeze(encoder, 'frozen')
    keys = set(encoder.state_dict())
    with torch.no_grad():
        before = encoder(x)
        add_lora(encoder.blocks, TARGETS[name], rank=4, alpha=8, dropout=0.3)
        encoder.eval()
        assert all(torch.equal(a, b) for a, b in zip(before, encoder(x), strict=True))
    assert trained(encoder)
    assert all(key.endswith(('.lora_a', '.lora_b')) for key in trained(encoder))
    disturb(encoder)
    with torch.no_grad():
        adapted = encoder(x)
        assert all((a - b).abs().max() > 1e-3 for a, b in zip(before, adapted, strict=True))
        assert merge_lora(encoder) == 4 * len(TARGETS[name])
        for a, b in zip(adapted, encoder(x), strict=True):
            assert (a - b).abs().max() <= 1e-5 * a.abs().max()
    assert set(encoder.state_dict()) == keys
    assert not any(isinstance(module, LoRALinear) for module in encoder.modules())
    assert trained(encoder) == set()


@pytest.mark.parametrize(('outputs', 'inputs', 'rank'), [(24, 24, 4), (48, 24, 1), (24, 96, 24)])
def test_soma_takes_the_smallest_singular_values(outputs, inputs, rank):
    linear = nn.Linear(inputs, outputs)
    whole = linear.weight.detach().clone()
    blocks = nn.ModuleList([nn.ModuleDict({'q': linear})])
    add_soma(blocks, ('q',), rank)
    soma = blocks[0]['q']
    left = torch.linalg.svdvals(soma.weight)
    taken = torch.linalg.svdvals(soma.lora_b @ soma.lora_a)[:rank]
    values = torch.linalg.svdvals(whole)
    torch.testing.assert_close(
        left[: len(values) - rank],
        values[:-rank] if rank < len(values) else values[:0],
        atol=1e-5,
        rtol=1e-4,
    )
    torch.testing.assert_close(taken, values[-rank:], atol=1e-5, rtol=1e-4)
    assert trained(blocks) == {'0.q.lora_a', '0.q.lora_b', '0.q.bias'}


@pytest.mark.parametrize('name', ['dinov2', 'eva02'])
def test_soma_changes_nothing_at_first_and_merges(name):
    encoder, x = built(name), image(1, 64, 96)
    freeze(encoder, 'frozen')
    with torch.no_grad():
        before = encoder(x)
        add_soma(encoder.blocks[1:], TARGETS[name], rank=4)
        for a, b in zip(before, encoder(x), strict=True):
            assert (a - b).abs().max() <= 1e-5 * a.abs().max()
    assert not any(key.startswith('blocks.0.') for key in trained(encoder))
    biases = {key for key in trained(encoder) if key.endswith('bias')}
    assert len(biases) == 3 * (len(TARGETS[name]) - (name == 'eva02'))
    disturb(encoder)
    with torch.no_grad():
        adapted = encoder(x)
        merge_lora(encoder)
        for a, b in zip(adapted, encoder(x), strict=True):
            assert (a - b).abs().max() <= 1e-5 * a.abs().max()


def test_lora_of_convnext():
    sizes = {'depths': (1, 1, 1, 1), 'dims': (8, 16, 24, 32)}
    encoder = StagedEncoder('convnext_tiny', size_multiple=32, **sizes).eval()
    freeze(encoder, 'frozen')
    x = image(1, 64, 96)
    add_lora(encoder.trunk()[-1], ('fc1', 'fc2'), rank=4)
    assert len(trained(encoder)) == 4
    disturb(encoder)
    adapted = encoder(x)
    assert merge_lora(encoder) == 2
    torch.testing.assert_close(encoder(x), adapted, atol=1e-5, rtol=1e-5)


def test_lora_dropout_works_in_frozen_blocks():
    encoder = built('dinov2')
    freeze(encoder, 'frozen')
    add_lora(encoder.blocks, rank=4, dropout=0.5)
    disturb(encoder)
    encoder.train()
    x = image(1, 64, 96)
    assert not torch.equal(encoder(x)[0], encoder(x)[0])
    encoder.eval()
    assert torch.equal(encoder(x)[0], encoder(x)[0])


@pytest.mark.parametrize('policy', POLICIES)
@pytest.mark.parametrize('add', [add_lora, add_soma])
def test_freezing_and_adding_low_rank_adapters_may_come_in_any_order(add, policy):
    first, second = built('dinov2'), built('dinov2')
    freeze(first, policy)
    add(first.blocks, rank=4)
    add(second.blocks, rank=4)
    freeze(second, policy)
    assert trained(first) == trained(second)


@pytest.mark.parametrize('rank', [0, 25])
def test_impossible_ranks_are_named(rank):
    with pytest.raises(DgssError, match='choose 1 to 24'):
        add_lora(built('dinov2').blocks, rank=rank)


def test_unknown_targets_are_named():
    with pytest.raises(DgssError, match='no linear layer qkv to adapt; choose from fc1, fc2'):
        add_lora(built('dinov2').blocks, ('qkv', 'proj'))


def test_soma_files_go_on_top_of_their_base():
    """A small file of SoMA holds adapters and biases under the published names."""
    encoder = built('dinov2')
    freeze(encoder, 'frozen')
    add_soma(encoder.blocks[2:], rank=4)
    disturb(encoder)
    published = {}
    for key, value in encoder.state_dict().items():
        name = key.replace('.attention.', '.attn.').replace('embed.proj', 'patch_embed.proj')
        name = name.replace('lora_a', 'lora_A.weight').replace('lora_b', 'lora_B.weight')
        if 'lora' in name or name.endswith('bias'):
            published[name] = value.clone()
    other = built('dinov2')
    add_soma(other.blocks[2:], rank=4)
    state = import_soma(published | {'mask_token': torch.ones(1, 24), 'norm.bias': torch.ones(24)})
    other.load_pretrained(other.state_dict() | state, 'a SoMA file')
    x = image(1, 64, 96)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(encoder(x), other(x), strict=True))
