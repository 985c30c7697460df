"""Comparing our encoders with timm's and open_clip's own models."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIZES = {'width': 24, 'depth': 4, 'heads': 2, 'patch': 8, 'image_size': 48, 'pyramid': 'none'}


TIMM = {
    'embed_dim': 24,
    'depth': 4,
    'num_heads': 2,
    'patch_size': 8,
    'img_size': 48,
    'num_classes': 0,
}


TAPS = [0, 1, 2, 3]


def scatter(module: nn.Module) -> nn.Module:
    """Set all weights to random values: the initial zeros and ones would hide mistakes."""
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point() and 'rope' not in name:
                value.normal_(0, 0.2)
            if name.endswith('running_var'):
                value.abs_().add_(0.5)
    return module.eval()


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def assert_same_as_timm(encoder, model, importer, size=(48, 48)) -> None:
    scatter(model)
    encoder.load_pretrained(importer(model.state_dict()), 'timm')
    encoder.eval()
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        theirs = model.forward_intermediates(x, indices=TAPS, intermediates_only=True)
        assert_same(encoder(x), theirs)
