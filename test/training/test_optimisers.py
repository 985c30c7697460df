"""Optimisers, schedules, averages, and the log of losses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from small_systems import small
from tiny_training import RECIPES
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dgss_core.errors import DgssError
from dgss_core.networks.systems import SegmentationModel, build_system
from dgss_core.training.average import Average, AverageConfig
from dgss_core.training.fabric import Fabric
from dgss_core.training.loss_log import LossLog
from dgss_core.training.optimiser import (
    OptimiserConfig,
    build_optimiser,
    rate_factors,
    set_rates,
    undecayed_names,
)
from dgss_core.training.schedule import Schedule


def model(name: str) -> SegmentationModel:
    recipe = RECIPES[name]
    torch.manual_seed(0)
    return build_system(
        recipe['system'], encoder_options=recipe['encoder_options'], **recipe['options']
    )


def test_rein_decays_no_norms_tokens_embeddings_and_scale() -> None:
    undecayed = undecayed_names(OptimiserConfig(), model('rein'))
    trained = {name for name, p in model('rein').named_parameters() if p.requires_grad}
    plain = {name for name in undecayed & trained if 'norm' not in name}
    tables = {'encoder.adapter.tokens_a', 'encoder.adapter.tokens_b', 'encoder.adapter.scale'}
    assert tables <= plain
    assert {'head.pixel_decoder.level_embedding', 'head.decoder.level_embedding'} <= plain
    assert 'encoder.adapter.feature.bias' not in undecayed, 'biases decay'
    assert not any(name.endswith('linear.weight') for name in undecayed)


@pytest.mark.parametrize('clip', [0, -1.0, float('nan')])
def test_a_norm_that_would_turn_gradients_to_nothing(clip: float) -> None:
    with pytest.raises(DgssError, match='clip above 0, or leave it null'):
        OptimiserConfig(clip=clip)


def test_biases_and_patterns() -> None:
    vltseg = model('vltseg')
    config = OptimiserConfig(undecayed=['biases', 'encoder.embed.table', 'head.decoder.query_*'])
    undecayed = undecayed_names(config, vltseg)
    assert {'encoder.embed.table', 'head.decoder.query_place'} <= undecayed
    assert 'encoder.embed.class_token' not in undecayed
    assert 'encoder.blocks.0.mlp.fc1.bias' in undecayed
    assert 'encoder.blocks.0.norm1.bias' not in undecayed, 'the bias of a norm counts as a norm'
    with pytest.raises(DgssError, match=r"No parameter of this model is called 'backbone\.\*'"):
        undecayed_names(OptimiserConfig(undecayed=['backbone.*']), vltseg)


def test_rates_multiply_and_fall_from_block_to_block() -> None:
    vltseg = model('vltseg')
    factors = rate_factors(OptimiserConfig(rates={'encoder.*': 0.1, '*.blocks.0.*': 0.5}), vltseg)
    assert factors['head.decoder.query_place'] == 1
    assert factors['encoder.embed.table'] == pytest.approx(0.1)
    assert factors['encoder.blocks.0.mlp.fc1.weight'] == pytest.approx(0.05)
    layered = rate_factors(OptimiserConfig(layer_decay=0.8), vltseg)
    assert layered['head.decoder.query_place'] == 1
    assert layered['encoder.blocks.3.mlp.fc1.weight'] == pytest.approx(0.8)
    assert layered['encoder.blocks.0.mlp.fc1.weight'] == pytest.approx(0.8**4)
    assert layered['encoder.embed.table'] < layered['encoder.blocks.0.norm1.weight']


@pytest.mark.parametrize(
    ('name', 'last'), [('eomt-dinov2-s', 'head.blocks.1'), ('dgss-dinov2-s-query', 'head.block')]
)
def test_rates_fall_through_the_blocks_that_the_head_has_taken(name: str, last: str) -> None:
    options = {'adapter': 'full'} if name.endswith('query') else {}
    network = small(name, **options)
    factors = rate_factors(OptimiserConfig(layer_decay=0.8), network)
    taken = len(network.head.taken_blocks())
    blocks = len(network.encoder.blocks)
    assert factors[f'{last}.norm1.weight'] == pytest.approx(0.8)
    before = factors[f'encoder.blocks.{blocks - 1}.norm1.weight']
    assert before == pytest.approx(0.8 ** (taken + 1))
    assert factors['head.queries'] == factors['head.norm.weight'] == 1


def test_a_step_has_its_rates_and_decays() -> None:
    famix = model('famix')
    config = OptimiserConfig(
        'sgd', 0.1, {'encoder.*': 0.1}, weight_decay=0.05, weight_decay_end=0.01,
        undecayed=['norms'], schedule=Schedule(least=0.004),
    )  # fmt: skip
    optimiser = build_optimiser(config, famix)
    assert isinstance(optimiser, torch.optim.SGD)
    assert len(optimiser.param_groups) == 4
    trained = sum(p.requires_grad for p in famix.parameters())
    assert sum(len(group['params']) for group in optimiser.param_groups) == trained

    def rates(step: int) -> dict[tuple[float, bool], tuple[float, float]]:
        set_rates(optimiser, config, step, 100)
        return {
            (g['factor'], g['decayed']): (g['lr'], g['weight_decay'])
            for g in optimiser.param_groups
        }

    assert rates(0)[1.0, True] == pytest.approx((0.1, 0.05))
    assert rates(50)[1.0, True] == pytest.approx((0.1 * 0.5**0.9, 0.03))
    assert rates(50)[0.1, False] == pytest.approx((0.01 * 0.5**0.9, 0))
    assert rates(99)[0.1, True] == pytest.approx((0.004, 0.01), abs=1e-4), 'never below the least'


def test_poly_matches_torch() -> None:
    parameter = nn.Parameter(torch.zeros(()))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.PolynomialLR(optimiser, total_iters=50, power=0.9)
    for step in range(50):
        expected = theirs.get_last_lr()[0]
        assert Schedule().factor(step, 50) == pytest.approx(expected, abs=1e-9)
        optimiser.step()
        theirs.step()


def test_cosine_and_constant() -> None:
    cosine = Schedule('cosine', warmup=10, warmup_from=0.1)
    factors = [cosine.factor(step, 110) for step in (0, 5, 10, 60, 110)]
    assert factors == pytest.approx([0.1, 0.55, 1, 0.5, 0], abs=1e-9)
    assert Schedule('constant').factor(99, 100) == 1
    with pytest.raises(DgssError, match='let begin be at least the warm-up'):
        Schedule(warmup=10, begin=5)


def test_the_average_matches_torch() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    ours = Average(network, AverageConfig(0.9))
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    theirs.update_parameters(network)  # the first update copies the weights, as ours did
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for step in range(1, 5):
        network(torch.randn(2, 3, 4, 4)).square().mean().backward()
        optimiser.step()
        ours.update(network, step)
        theirs.update_parameters(network)
    before = {name: x.clone() for name, x in network.state_dict().items()}
    with ours.applied(network):
        for name in ours.state:
            x = theirs.module.state_dict()[name]
            torch.testing.assert_close(network.state_dict()[name], x)
    assert all(torch.equal(before[name], x) for name, x in network.state_dict().items())


def test_an_average_starts_late_and_updates_at_intervals() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = Average(network, AverageConfig(0.5, start=2, every=3))
    seen = []
    for step in range(1, 9):
        nn.init.constant_(network.weight, step)
        average.update(network, step)
        seen.append(average.state['weight'].item())
    assert seen == [1, 2, 2, 2, 3.5, 3.5, 3.5, 5.75]
    late = Average(network, AverageConfig(0.999, start=2), warms_up=True)
    for step in range(1, 4):
        nn.init.constant_(network.weight, step)
        late.update(network, step)
    assert late.state['weight'].item() == pytest.approx(2.001)
    with pytest.raises(DgssError, match='An average cannot keep'):
        AverageConfig(decay=1.0)


def test_a_short_average_forgets_its_start() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1000)
    plain, warm = (Average(network, AverageConfig(0.999), warms_up=w) for w in (False, True))
    for step in range(1, 81):
        nn.init.constant_(network.weight, 1)
        for average in (plain, warm):
            average.update(network, step)
    assert plain.state['weight'].item() > 900
    assert warm.state['weight'].item() == pytest.approx(1, abs=1e-3)
    for step in range(81, 20_000):
        warm.update(network, step)
    nn.init.constant_(network.weight, 2)
    warm.update(network, 20_000)
    assert warm.state['weight'].item() == pytest.approx(1.001, abs=1e-5)


def test_an_average_without_an_update_yet_equals_the_model() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1000)
    average = Average(network, AverageConfig(0.999, every=100), warms_up=True)
    for step in range(1, 101):
        nn.init.constant_(network.weight, step)
        average.update(network, step)
        if step < 100:
            assert average.state['weight'].item() == step
    assert average.state['weight'].item() == pytest.approx(100 - 2 / 11)


def test_the_loss_log_names_the_first_bad_step(tmp_path: Path) -> None:
    fabric, losses = Fabric(accelerator='cpu', devices=1), LossLog()
    one = torch.ones(())
    losses.add(1, {'a': one, 'b': 2 * one}, one)
    losses.add(2, {'a': one, 'b': 4 * one}, 3 * one)
    assert losses.check(fabric, tmp_path / 'state') == {'loss': 4, 'gradient norm': 2}
    losses.add(3, {'a': one}, one)
    losses.add(4, {'a': one}, one * math.inf)
    losses.add(5, {'a': one * math.nan}, one)
    with pytest.raises(DgssError, match='At step 4 the loss was 1 '):
        losses.check(fabric, tmp_path / 'state')
