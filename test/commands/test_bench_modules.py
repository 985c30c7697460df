"""The modules that are timed against each other compute the same function."""

import pytest
import torch

from dgss_core.commands.bench_modules import modules, pixel_decoder_contest, reins_contest
from dgss_core.errors import DgssError


@pytest.mark.parametrize('contest', [pixel_decoder_contest, reins_contest])
def test_both_sides_compute_the_same(contest):
    torch.manual_seed(0)
    match = contest(height=64, width=96, layers=2)
    results = []
    for module in (match.ours, match.plain):
        y = match.call(module)
        y.square().mean().backward()
        results.append((y, {k: p.grad for k, p in module.named_parameters()}))
    (ours, our_gradients), (plain, plain_gradients) = results
    assert type(match.ours) is not type(match.plain) or any(
        type(a) is not type(b)
        for a, b in zip(match.ours.modules(), match.plain.modules(), strict=True)
    )
    assert torch.allclose(ours, plain, atol=1e-5)
    assert our_gradients.keys() == plain_gradients.keys()
    for name, gradient in our_gradients.items():
        if gradient is not None:
            assert torch.allclose(gradient, plain_gradients[name], atol=1e-5), name


def test_the_table_has_a_ratio_for_every_pass(capsys):
    modules(height=32, width=32, repeats=1)
    rows = [line for line in capsys.readouterr().out.splitlines() if 'layers' in line]
    assert len(rows) == 6
    for row in rows:
        *_, ours, plain, ratio, _ = (cell.strip() for cell in row.split('│'))
        assert float(ratio) == pytest.approx(float(ours) / float(plain), rel=0.2)


def test_impossible_sizes_are_refused():
    with pytest.raises(DgssError, match='give at least 32'):
        modules(height=16)
