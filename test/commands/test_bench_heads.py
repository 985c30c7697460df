"""The heads are compared on the same ViT; the speed itself is not tested."""

from __future__ import annotations

import json

import pytest
import torch

from dgss_core.cli import main
from dgss_core.commands.bench_heads import build_models

SMALLEST = ('--encoder', 'tiny', '--width', '64', '--height', '32', '--seconds', '0.01')


def bench(*options: str) -> int:
    return main(['bench', 'heads', *SMALLEST, '--threads', '1', *options])


def test_three_heads_on_one_vit(capsys: pytest.CaptureFixture) -> None:
    assert bench('--modes', 'eager', '--json') == 0
    found = json.loads(capsys.readouterr().out)
    assert 'tiny, 64x32, ' in found['where']
    rows = {row['head']: row for row in found['heads']}
    assert set(rows) == {'light conv', 'query', 'Mask2Former'}
    for row in rows.values():
        assert row['mode'] == 'eager'
        assert row['calls'] >= 3
        assert row['frames_per_s'] == pytest.approx(1e3 / row['network_ms'])
    assert rows['Mask2Former']['parameters'] > 4 * rows['light conv']['parameters']
    assert min(row['times_faster'] for row in rows.values()) == 1


def test_the_vits_are_equal_and_plain() -> None:
    models = build_models('tiny', 64)
    blocks = {
        name: [*model.encoder.blocks, *([model.head.block] if name == 'query' else [])]
        for name, model in models.items()
    }
    sizes = {
        name: [sum(p.numel() for p in block.parameters()) for block in found]
        for name, found in blocks.items()
    }
    assert sizes['light conv'] == sizes['query'] == sizes['Mask2Former']
    assert {type(block.attention.q) for found in blocks.values() for block in found} == {
        torch.nn.Linear
    }


def test_mistakes(capsys: pytest.CaptureFixture) -> None:
    assert bench('--seconds', '0') == 2
    assert '--seconds is 0.0; give more than 0' in capsys.readouterr().err
    assert bench('--encoder', 'vgg') == 2
    assert 'vgg' in capsys.readouterr().err


@pytest.mark.slow
def test_compiled_networks(capsys: pytest.CaptureFixture) -> None:
    """Minutes on two cores: three networks are compiled."""
    assert bench('--json') == 0
    rows = json.loads(capsys.readouterr().out)['heads']
    assert [row['mode'] for row in rows] == ['eager', 'compiled'] * 3
