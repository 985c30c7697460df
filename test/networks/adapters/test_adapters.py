"""Rein, LoRA and SoMA inside our encoders, and which weights stay frozen."""

from __future__ import annotations

import math

import pytest
import torch
from formula_weights import fill, image
from torch import nn

from dgss_core.errors import DgssError
from dgss_core.networks.adapters.freezing import POLICIES, freeze
from dgss_core.networks.adapters.lora import LoRALinear, add_lora, add_soma, merge_lora
from dgss_core.networks.adapters.reins import Reins, StageReins
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.encoders.memory import graph_bytes
from dgss_core.networks.encoders.mobilenetv2 import MobileNetV2
from dgss_core.networks.encoders.stages import StagedEncoder
from dgss_core.networks.encoders.vits import clip_vit, dinov2, eva02, sam, siglip
from dgss_core.networks.importers.adapters import import_soma

VIT = {'width': 24, 'depth': 4, 'heads': 2, 'image_size': 64}
VITS = {'dinov2': dinov2, 'clip': clip_vit, 'siglip': siglip, 'eva02': eva02, 'sam': sam}


def built(name: str) -> nn.Module:
    encoder = VITS[name](**VIT)
    fill(encoder)
    return encoder.eval()


def disturb(module: nn.Module) -> None:
    """Change every trained weight."""
    with torch.no_grad():
        for weight in module.parameters():
            if weight.requires_grad:
                weight += 0.1 * torch.randn_like(weight)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def trained(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ('options', 'count'),
    [
        ({'layers': 24, 'width': 1024}, 2_990_081),
        ({'layers': 32, 'width': 1280}, 4_510_721),
        ({'layers': 24, 'width': 1024, 'rank': None}, 5_016_065),
    ],
)
def test_reins_have_the_published_size(options, count):
    with torch.device('meta'):
        reins = Reins(**options)
    assert sum(p.numel() for p in reins.parameters()) == count


@pytest.mark.parametrize('tokens', [2, 7])
@pytest.mark.parametrize('rank', [None, 3])
@pytest.mark.parametrize('width', [16, 40])
def test_reins_formula(width, rank, tokens):
    """The update written again, token by token."""
    reins = Reins(3, width, tokens, rank, query_width=6)
    disturb(reins)
    x = torch.randn(2, 5, width)
    T = reins.tokens[1] if rank is None else reins.tokens_a[1] @ reins.tokens_b[1]
    expected = x.clone()
    for b in range(2):
        for n in range(5):
            f = x[b, n]
            logits = torch.stack([f @ t for t in T]) / math.sqrt(width)
            weights = logits.exp() / logits.exp().sum()
            mixed = sum(w * reins.feature(t) for w, t in zip(weights[1:], T[1:], strict=True))
            expected[b, n] = f + reins.scale * reins.delta(mixed + f)
    torch.testing.assert_close(reins(x, 1), expected, atol=1e-5, rtol=1e-5)


def test_reins_leave_prefix_tokens_alone():
    reins = Reins(2, 16, 5, 4)
    disturb(reins)
    x = torch.randn(2, 9, 16)
    y = reins(x, 0, prefix=2)
    assert torch.equal(y[:, :2], x[:, :2])
    assert torch.equal(y[:, 2:], reins(x[:, 2:], 0))


def test_reins_without_softmax():
    reins = Reins(1, 16, 5, None, softmax=False)
    x = torch.randn(1, 3, 16)
    mixed = (x @ reins.tokens[0].T)[..., 1:] @ reins.feature(reins.tokens[0][1:])
    expected = x + reins.scale * reins.delta(mixed + x)
    torch.testing.assert_close(reins(x, 0), expected)


def test_reins_with_zero_delta_change_nothing_at_first():
    reins = Reins(2, 16, 5, 4, zero_delta=True)
    x = torch.randn(2, 9, 16)
    assert torch.equal(reins(x, 1), x)
    assert not any('scale' in name for name, _ in reins.named_parameters())


def test_queries_combine_all_layers():
    reins = Reins(3, 16, 5, 4, query_width=2)
    disturb(reins)
    queries = reins.to_query(reins.tokens_a @ reins.tokens_b)
    top, mean, last = queries.max(dim=0).values, queries.mean(dim=0), queries[2]
    pairs = [top[:, 0], mean[:, 0], last[:, 0], top[:, 1], mean[:, 1], last[:, 1]]
    expected = reins.merge(torch.stack(pairs, dim=1))
    torch.testing.assert_close(reins.queries(), expected)
    with pytest.raises(ValueError, match='link=True'):
        Reins(3, 16, 5, 4, link=False).queries()


@pytest.mark.parametrize('name', VITS)
def test_only_reins_train_in_a_frozen_vit(name):
    encoder = built(name)
    freeze(encoder, 'frozen')
    before = encoder(image(1, 64, 96))
    encoder.adapter = Reins(4, 24, 5, 4, query_width=6)
    disturb(encoder)
    encoder.train()
    assert trained(encoder) == {f'adapter.{n}' for n, _ in encoder.adapter.named_parameters()}
    assert encoder.adapter.training
    assert not any(block.training for block in encoder.blocks)
    maps = encoder(image(1, 64, 96))
    (sum(x.square().mean() for x in maps) + encoder.adapter.queries().sum()).backward()
    assert all(p.grad is not None for p in encoder.adapter.parameters())
    assert all(p.grad is None for p in encoder.blocks.parameters())
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(maps, before, strict=True))


@pytest.mark.parametrize(
    'build',
    [
        lambda: ClipResNet((1, 2, 1, 1), width=8),
        lambda: StagedEncoder('resnet10t', size_multiple=1),
        lambda: StagedEncoder('convnext_atto', size_multiple=32, depths=(1, 1, 1, 1)),
        MobileNetV2,
    ],
)
def test_stage_reins(build):
    encoder = build().eval()
    freeze(encoder, 'frozen')
    x = image(1, 64, 96)
    before = encoder(x)
    encoder.adapter = StageReins(encoder.channels, tokens=5, rank=4, query_width=6)
    disturb(encoder)
    after = encoder(x)
    for a, b in zip(before, after, strict=True):
        assert a.shape == b.shape
        assert not torch.equal(a, b)
    expected = encoder.adapter.stages[0](before[0].flatten(2).transpose(1, 2), 0)
    assert torch.equal(after[0].flatten(2).transpose(1, 2), expected)
    summed = sum(stage.queries() for stage in encoder.adapter.stages)
    torch.testing.assert_close(encoder.adapter.queries(), summed)
    program = torch.export.export(encoder, (x,))
    torch.testing.assert_close(program.module()(x), after, atol=1e-5, rtol=1e-5)


def test_rein_needs_less_memory_than_full_training():
    encoder = dinov2(**VIT | {'depth': 8})
    freeze(encoder, 'full')
    x = image(1, 64, 96)
    full = graph_bytes(lambda: encoder(x))
    freeze(encoder, 'frozen')
    assert graph_bytes(lambda: encoder(x)) == 0
    add_lora(encoder.blocks[-1:], rank=4)
    assert 0 < graph_bytes(lambda: encoder(x)) < 0.2 * full


TARGETS = {
    'dinov2': ('q', 'k', 'v', 'proj', 'fc1', 'fc2'),
    'clip': ('q', 'v'),
    'siglip': ('fc1',),
    'eva02': ('q', 'k', 'v', 'proj', 'w1', 'w2', 'w3'),
    'sam': ('q', 'v', 'proj'),
}


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


def test_adapted_encoder_exports():
    encoder, x = built('eva02'), image(1, 64, 96)
    add_lora(encoder.blocks, rank=4)
    encoder.adapter = Reins(4, 24, 5, 4)
    disturb(encoder)
    program = torch.export.export(encoder, (x,))
    torch.testing.assert_close(program.module()(x), encoder(x), atol=1e-5, rtol=1e-5)


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
