"""Small encoders for tests of adapters, and what is trained in them."""

from __future__ import annotations

import torch
from formula_weights import fill
from torch import nn

from dgss_core.networks.encoders.vits import clip_vit, dinov2, eva02, sam, siglip

VIT = {'width': 24, 'depth': 4, 'heads': 2, 'image_size': 64}


VITS = {'dinov2': dinov2, 'clip': clip_vit, 'siglip': siglip, 'eva02': eva02, 'sam': sam}


def built(name: str) -> nn.Module:
    encoder = VITS[name](**VIT)
    fill(encoder)
    return encoder.eval()


def disturb(module: nn.Module) -> None:
    """Change every trained weight."""
    with torch.no_grad():
        for weight in module.parameters():
            if weight.requires_grad:
                weight += 0.1 * torch.randn_like(weight)


def trained(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.requires_grad}


TARGETS = {
    'dinov2': ('q', 'k', 'v', 'proj', 'fc1', 'fc2'),
    'clip': ('q', 'v'),
    'siglip': ('fc1',),
    'eva02': ('q', 'k', 'v', 'proj', 'w1', 'w2', 'w3'),
    'sam': ('q', 'v', 'proj'),
}
