"""MobileNetV2 in the names of ONNX exports, of torchvision and of timm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain

from dgss_core.networks.importers.keys import Rules, Weights, rename

STAGES = (1, 2, 3, 4, 3, 3, 1)
"""Blocks of each stage."""

Names = Sequence[tuple[str, str]]
"""Convolution and batch norm of each layer of a block, from the first to the last."""


def import_mobilenetv2(weights: Weights) -> Weights:
    """MobileNetV2 without its classifier and the 1280-channel layer before it.

    ONNX exports (`stem.*`, `b.<block>.<layer>.*`) have an expansion in block 0; the files of
    torchvision (`features.*`) and timm (`conv_stem.*`, `blocks.<stage>.<block>.*`) have none.
    """
    rules = _EXPORTED
    if 'features.0.0.weight' in weights:
        rules = _TORCHVISION
    elif 'conv_stem.weight' in weights:
        rules = _TIMM
    return rename(weights, rules, 'a MobileNetV2')


def _blocks(prefixes: Sequence[str], first: Names, others: Names) -> Rules:
    """Rules for blocks with these prefixes; our layers are convolution, norm, ReLU6 in turn."""
    rules = []
    for block, prefix in enumerate(prefixes):
        for index, name in enumerate(chain(*(others if block else first))):
            layer = 3 * (index // 2) + index % 2
            pattern = re.escape(f'{prefix}.{name}.') + r'(\w+)'
            rules.append((pattern, rf'blocks.{block}.layers.{layer}.\1'))
    return rules


_EXPORTED: Rules = (
    (r'head\..*', ''),
    (r'(stem\..*)', r'\1'),
    (r'b\.(\d+)\.(.*)', r'blocks.\1.layers.\2'),
)
_TORCHVISION: Rules = (
    (r'features\.18\..*|classifier\..*', ''),
    (r'features\.0\.([01])\.(\w+)', r'stem.\1.\2'),
    *_blocks(
        [f'features.{block + 1}.conv' for block in range(sum(STAGES))],
        (('0.0', '0.1'), ('1', '2')),
        (('0.0', '0.1'), ('1.0', '1.1'), ('2', '3')),
    ),
)
_TIMM: Rules = (
    (r'(conv_head|bn2|classifier)\..*', ''),
    (r'conv_stem\.(\w+)', r'stem.0.\1'),
    (r'bn1\.(\w+)', r'stem.1.\1'),
    *_blocks(
        [f'blocks.{stage}.{i}' for stage, count in enumerate(STAGES) for i in range(count)],
        (('conv_dw', 'bn1'), ('conv_pw', 'bn2')),
        (('conv_pw', 'bn1'), ('conv_dw', 'bn2'), ('conv_pwl', 'bn3')),
    ),
)
