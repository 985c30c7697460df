"""SegFormer and Mask2Former on Swin as transformers builds them, small and at published sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

WIDTHS = {0: (32, 64, 160, 256), 1: (64, 128, 320, 512)}
DEPTHS = ((2, 2, 2, 2), (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 18, 3), (3, 8, 27, 3), (3, 6, 40, 3))
SWINS = {'t': (96, 6, 3, 7), 's': (96, 18, 3, 7), 'b': (128, 18, 4, 12), 'l': (192, 18, 6, 12)}
"""Width, blocks of the third stage, heads and window."""


def segformer(widths, depths, heads, width: int, classes: int) -> nn.Module:
    transformers = pytest.importorskip('transformers')
    config = transformers.SegformerConfig(
        hidden_sizes=list(widths),
        depths=list(depths),
        num_attention_heads=list(heads),
        decoder_hidden_size=width,
        num_labels=classes,
    )
    return transformers.SegformerForSemanticSegmentation(config).eval()


def mask2former(width: int, depths, heads, window: int, **options) -> nn.Module:
    transformers = pytest.importorskip('transformers')
    backbone = transformers.SwinConfig(
        embed_dim=width,
        depths=list(depths),
        num_heads=list(heads),
        window_size=window,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
    )
    config = transformers.Mask2FormerConfig(backbone_config=backbone, **options)
    return transformers.Mask2FormerForUniversalSegmentation(config).eval()


def published_segformer(size: int) -> nn.Module:
    """B0 to B5 for 19 classes, on the device meta."""
    width = 256 if size < 2 else 768
    with torch.device('meta'):
        return segformer(WIDTHS[min(size, 1)], DEPTHS[size], (1, 2, 5, 8), width, classes=19)


def published_mask2former(size: str) -> nn.Module:
    """Swin-T, S, B or L for 19 classes, on the device meta."""
    width, middle, heads, window = SWINS[size]
    of_stages = [heads * 2**stage for stage in range(4)]
    with torch.device('meta'):
        return mask2former(width, (2, 2, middle, 2), of_stages, window, num_labels=19)
