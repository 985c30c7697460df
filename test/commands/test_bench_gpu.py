"""The three ways to run one network are compared in one run; the speed itself is not tested."""

from __future__ import annotations

import json

import pytest

from dgss_core.cli import main

SMALLEST = ('--encoder', 'tiny', '--width', '64', '--height', '32', '--seconds', '0.01')


def bench(*options: str) -> int:
    return main(['bench', 'gpu', *SMALLEST, '--threads', '1', *options])


def test_mistakes(capsys: pytest.CaptureFixture) -> None:
    assert bench('--width', '16') == 2
    assert 'Give sides of 32 pixels or more' in capsys.readouterr().err
    assert bench('--backend', 'abacus') == 2
    assert "no backend 'abacus'" in capsys.readouterr().err
    assert bench('--encoder', 'vgg') == 2
    assert 'vgg' in capsys.readouterr().err


@pytest.mark.slow
def test_eager_compiled_and_the_bundle(capsys: pytest.CaptureFixture) -> None:
    """Minutes on two cores: a ViT is compiled."""
    assert bench('--precision', 'fp32', '--json') == 0
    rows = json.loads(capsys.readouterr().out)['runs']
    kinds = [row['backend'].split(',')[-1].strip() for row in rows]
    assert kinds == ['fp32', 'compiled', 'fp32']
    assert rows[2]['backend'].startswith('ONNX Runtime')
    for row in rows:
        assert row['calls'] >= 3
        assert 'share' in row['roof']
