"""Adapters against recorded outputs of the published systems, loaded through our importers."""

from __future__ import annotations

import pytest
import torch
from records import assert_close, dinov2_of, eva02_of, reins_of
from torch import nn

from dgss_core.errors import DgssError
from dgss_core.networks.adapters.lora import add_soma, merge_lora
from dgss_core.networks.importers.adapters import import_reins
from dgss_core.networks.importers.encoders import import_dinov2, import_eva02
from dgss_core.networks.importers.keys import load_exactly, take_prefix


@torch.no_grad()
@pytest.mark.parametrize('name', ['rein_Reins', 'rein_Reins_zero', 'rein_LoRAReins'])
def test_reins(record, name):
    r = record(name)
    reins = reins_of(r['kwargs'])
    load_exactly(reins, import_reins(r['state_dict']), 'the record')
    x, theirs = r['inputs']['x'], r['outputs']
    layers = range(r['kwargs']['num_layers'])
    assert_close([reins(x, layer, prefix=1) for layer in layers], theirs['layers'])
    assert_close(reins.queries(), theirs['queries'])
    # The record does not state which layer its output without class token belongs to.
    errors = [(reins(x[:, 1:], layer) - theirs['nocls']).abs().max().item() for layer in layers]
    assert min(errors) <= 1e-5


@pytest.mark.parametrize('name', ['rein_Reins', 'rein_Reins_zero', 'rein_LoRAReins'])
def test_reins_start_as_published(record, name):
    """The record has minimum, maximum and standard deviation of every initial tensor."""
    r = record(name)
    torch.manual_seed(0)
    reins = reins_of(r['kwargs'])
    ours = reins.state_dict()
    renamed = import_reins(r['state_dict'])
    for (_, (low, high, std)), key in zip(r['init_stats'].items(), renamed, strict=True):
        value = ours[key]
        assert value.std(correction=0).item() == pytest.approx(std, rel=0.35, abs=1e-6)
        assert value.min().item() >= 1.25 * low - 1e-6 if low < 0 else value.min().item() == low
        assert value.max().item() <= 1.25 * high + 1e-6


@torch.no_grad()
@pytest.mark.parametrize(
    ('name', 'build', 'importer'),
    [
        ('rein_dinov2_reins', dinov2_of, import_dinov2),
        ('rein_eva02_reins', lambda kwargs: eva02_of(kwargs, 'bilinear'), import_eva02),
    ],
)
def test_reins_inside_an_encoder(record, name, build, importer):
    r = record(name)
    encoder = build(r['kwargs'])
    encoder.adapter = reins_of(r['kwargs']['reins_config'])
    state = r['state_dict']
    reins = import_reins(take_prefix(state, 'reins.'))
    load_exactly(encoder.adapter, reins, 'the record')
    trunk = {key: value for key, value in state.items() if not key.startswith('reins.')}
    encoder.load_pretrained(importer(trunk), 'the record')
    encoder.eval()
    for inputs, suffix in (('x', ''), ('x_big', '_big')):
        if inputs in r['inputs']:
            assert_close(encoder(r['inputs'][inputs]), r['outputs'][f'feats{suffix}'])
            assert_close(encoder.adapter.queries(), r['outputs'][f'queries{suffix}'])


def test_soma_start(record):
    r = record('soma_init')
    state, start, rank = r['state_dict'], r['kwargs']['start'], r['kwargs']['r']
    blocks = linears_of(state)
    targets = {key.rsplit('.', 1)[1] for key in r['outputs']['BA']}
    blocks.requires_grad_(False)
    add_soma(blocks[start:], sorted(targets), rank)
    adapted = {f'blocks.{name}': module for name, module in blocks.named_modules()}
    for name, product in r['outputs']['BA'].items():
        linear = adapted[name]
        assert_close(linear.scale * linear.lora_b @ linear.lora_a, product)
        assert_close(linear.weight, r['outputs']['residual'][name])
    trained = {f'blocks.{name}' for name, p in blocks.named_parameters() if p.requires_grad}
    theirs = {
        name.replace('lora_A.weight', 'lora_a').replace('lora_B.weight', 'lora_b')
        for name in r['outputs']['trainable']
    }
    assert trained == theirs


@torch.no_grad()
def test_soma_changes_no_output_and_merges_back(record):
    r = record('soma_init')
    blocks, x = linears_of(r['state_dict']), r['inputs']['x']
    before = [linear(x) for linear in blocks.modules() if isinstance(linear, nn.Linear)]
    add_soma(blocks[r['kwargs']['start'] :], sorted(blocks[0]._modules), r['kwargs']['r'])
    adapted = [linear(x) for linear in blocks.modules() if isinstance(linear, nn.Linear)]
    assert_close(adapted, before)
    merge_lora(blocks)
    for key, value in blocks.state_dict().items():
        assert_close(value, r['state_dict'][f'blocks.{key}'])


def linears_of(state: dict) -> nn.ModuleList:
    """The record's small blocks, each a set of linear layers."""
    numbers = {int(key.split('.')[1]) for key in state}
    blocks = nn.ModuleList()
    for number in sorted(numbers):
        block = nn.Module()
        for key, weight in take_prefix(state, f'blocks.{number}.').items():
            name, _, kind = key.rpartition('.')
            if kind == 'weight':
                block.add_module(name, nn.Linear(weight.shape[1], weight.shape[0]))
        blocks.append(block)
    blocks.load_state_dict(take_prefix(state, 'blocks.'))
    return blocks


def test_adapters_of_other_systems_are_refused():
    with pytest.raises(DgssError, match='not an adapter of Rein'):
        import_reins({'learnable_tokens_c': torch.ones(1)})
