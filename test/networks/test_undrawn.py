"""Networks that are built without drawing their weights."""

from __future__ import annotations

import pytest
import torch

from dgss_core.networks.systems import build_system
from dgss_core.networks.undrawn import Undrawn


@pytest.mark.parametrize('name', ['dgss-mobilenetv2', 'rein-dinov2-s', 'pidnet-s'])
def test_an_undrawn_network_equals_a_drawn_one_once_its_weights_are_loaded(name: str) -> None:
    drawn = build_system(name).eval()
    with Undrawn():
        undrawn = build_system(name).eval()
    undrawn.load_state_dict(drawn.state_dict())
    for (key, expected), (other, found) in zip(
        drawn.named_buffers(), undrawn.named_buffers(), strict=True
    ):
        assert key == other
        assert torch.equal(found, expected), key
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        assert torch.equal(undrawn(images), drawn(images))


def test_no_weight_is_drawn() -> None:
    before = torch.random.get_rng_state()
    with Undrawn():
        build_system('dgss-mobilenetv2')
    assert torch.equal(torch.random.get_rng_state(), before)
