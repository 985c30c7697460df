"""The three ways to run one network are compared in one run; the speed itself is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dgss_core.cli import main

pytest.importorskip('torch', reason='needs torch: runs networks')

SMALLEST = ('--encoder', 'tiny', '--width', '64', '--height', '32', '--seconds', '0.01')


def bench(*options: str) -> int:
    return main(['bench', 'gpu', *SMALLEST, '--threads', '1', *options])


def test_mistakes(capsys: pytest.CaptureFixture) -> None:
    assert bench('--width', '16') == 2
    assert '--width is 16; give at least 32' in capsys.readouterr().err
    for option, value in (('--batch', '0'), ('--seconds', '0'), ('--threads', '-1')):
        assert bench(option, value) == 2
        printed = capsys.readouterr().err
        assert f'{option} is {value}' in printed
        assert 'Exporting' not in printed  # which takes minutes for a large network
    assert bench('--backend', 'abacus') == 2
    assert "no backend 'abacus'" in capsys.readouterr().err
    assert bench('--encoder', 'vgg') == 2
    assert 'vgg' in capsys.readouterr().err


@pytest.mark.slow
def test_eager_compiled_and_the_bundle(
    capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes on two cores: a ViT is compiled."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert bench('--precision', 'fp32', '--json') == 0
    assert [*tmp_path.iterdir()] == []  # no kernels of random weights stay
    rows = json.loads(capsys.readouterr().out)['runs']
    kinds = [row['backend'].split(',')[-1].strip() for row in rows]
    assert kinds == ['fp32', 'compiled', 'fp32']
    assert rows[2]['backend'].startswith('ONNX Runtime')
    for row in rows:
        assert row['calls'] >= 3
        assert 'share' in row['roof']
