"""Which published systems can be converted; named here without torch, which reads them."""

from __future__ import annotations

from dgss_core.published.entry import Checkpoint

CONVERTIBLE = (
    'rein-dinov2-s',
    'rein-dinov2-b',
    'rein-dinov2-l',
    'rein-eva02-l',
    'rein-clip-l',
    'vltseg-eva02-clip-l',
    'clouds-convnext-l',
    'clouds-rn50',
    'clouds-rn101',
    'famix-rn50',
    'famix-rn101',
    'soma-dinov2-l',
    'eomt-dinov2-s',
    'eomt-dinov2-b',
    'eomt-dinov2-l',
    'mask2former-swin-t',
    'mask2former-swin-s',
    'mask2former-swin-b',
    'mask2former-swin-l',
    'segformer-b0',
    'segformer-b1',
    'segformer-b2',
    'segformer-b3',
    'segformer-b4',
    'segformer-b5',
    'rein-sam-h',
    'pidnet-s',
    'pidnet-m',
    'pidnet-l',
    'ddrnet-23-slim',
    'ddrnet-23',
    'bisenetv2',
    'bisenetv2-coincheung',
)
"""The systems with importers for their published checkpoints."""


def obstacle(entry: Checkpoint) -> str:
    """Why an entry cannot be converted, '' if it can, and for an encoder."""
    if entry.encoder:
        return ''
    if entry.obstacle:
        return f'cannot be converted: {entry.obstacle}'
    return '' if entry.system in CONVERTIBLE else 'cannot be converted yet'
