"""Layers that encoders and heads share."""

from __future__ import annotations

import pytest
import timm.layers
import torch

from dgss_core.networks.layers import DropPath


@pytest.mark.parametrize('probability', [0.0, 0.3, 1.0])
def test_branches_are_dropped_as_in_timm(probability: float) -> None:
    x = torch.rand(64, 3, 2) + 1
    torch.manual_seed(0)
    ours = DropPath(probability)(x)
    torch.manual_seed(0)
    assert torch.equal(ours, timm.layers.DropPath(probability)(x))
    left_out = (ours == 0).all(-1).all(-1)
    assert left_out.float().mean().item() == pytest.approx(probability, abs=0.15)
    assert torch.equal(DropPath(probability).eval()(x), x)
