"""Rein, LoRA and SoMA inside our encoders, and which weights stay frozen."""

from __future__ import annotations

import math

import pytest
import torch
from adapted import VIT, VITS, built, disturb, trained
from formula_weights import image

from dgss_core.networks.adapters.freezing import freeze
from dgss_core.networks.adapters.lora import add_lora
from dgss_core.networks.adapters.reins import Reins, StageReins
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.encoders.memory import graph_bytes
from dgss_core.networks.encoders.mobilenetv2 import MobileNetV2
from dgss_core.networks.encoders.stages import StagedEncoder
from dgss_core.networks.encoders.vits import dinov2
from dgss_core.networks.undrawn import Undrawn


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ('options', 'count'),
    [
        ({'layers': 24, 'width': 1024}, 2_990_081),
        ({'layers': 32, 'width': 1280}, 4_510_721),
        ({'layers': 24, 'width': 1024, 'rank': None}, 5_016_065),
    ],
)
def test_reins_have_the_published_size(options, count):
    with torch.device('meta'), Undrawn():
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


@pytest.mark.parametrize(
    ('name', 'multiple', 'options', 'depths'),
    [
        ('resnet26t', 1, {}, (2, 2, 2, 2)),
        ('convnext_atto', 32, {'depths': (1, 2, 3, 1)}, (1, 2, 3, 1)),
    ],
)
@pytest.mark.parametrize('checkpointing', [False, True])
def test_rein_refines_every_block_of_resnet_and_convnext(
    name: str, multiple: int, options: dict, depths: tuple[int, ...], checkpointing: bool
) -> None:
    import timm

    encoder = StagedEncoder(name, size_multiple=multiple, **options)
    freeze(encoder, 'frozen')
    encoder.checkpointing = checkpointing
    assert encoder.adapted == depths
    reins = StageReins(encoder.channels, encoder.adapted, tokens=5, rank=4, query_width=6)
    encoder.adapter = reins
    disturb(encoder)
    x = image(1, 64, 96)

    # timm's own network, block by block.
    network = timm.create_model(name, **options).eval()
    known = {
        key.replace('_', '.', 1): value for key, value in encoder.network.state_dict().items()
    }
    network.load_state_dict(known | encoder.network.state_dict(), strict=False)
    if name.startswith('resnet'):
        y = network.maxpool(network.act1(network.bn1(network.conv1(x))))
        stages = [[*getattr(network, f'layer{number}')] for number in range(1, 5)]
    else:
        y, stages = network.stem(x), [[*stage.blocks] for stage in network.stages]
    expected = []
    for index, stage in enumerate(stages):
        if not name.startswith('resnet'):
            y = network.stages[index].downsample(y)
        for number, block in enumerate(stage):
            y = block(y)
            tokens = reins.stages[index](y.flatten(2).transpose(1, 2), number)
            y = tokens.transpose(1, 2).unflatten(2, y.shape[-2:])
        expected.append(y)
    maps = encoder(x)
    for a, b in zip(maps, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    (sum(a.square().mean() for a in maps) + reins.queries().sum()).backward()
    assert all(p.grad is not None for p in reins.parameters())


def test_rein_needs_less_memory_than_full_training():
    encoder = dinov2(**VIT | {'depth': 8})
    freeze(encoder, 'full')
    x = image(1, 64, 96)
    full = graph_bytes(lambda: encoder(x))
    freeze(encoder, 'frozen')
    assert graph_bytes(lambda: encoder(x)) == 0
    add_lora(encoder.blocks[-1:], rank=4)
    assert 0 < graph_bytes(lambda: encoder(x)) < 0.2 * full


def test_adapted_encoder_exports():
    encoder, x = built('eva02'), image(1, 64, 96)
    add_lora(encoder.blocks, rank=4)
    encoder.adapter = Reins(4, 24, 5, 4)
    disturb(encoder)
    program = torch.export.export(encoder, (x,))
    torch.testing.assert_close(program.module()(x), encoder(x), atol=1e-5, rtol=1e-5)
