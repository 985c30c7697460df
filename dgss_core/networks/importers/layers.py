"""Rules for `rename`, made from pairs of names: layers and blocks of convolutional networks.

Ours have the names `conv` and `bn` (`dgss_core.networks.layers`). Files of OpenMMLab
name them too; those of authors count the places in a sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from re import escape

from dgss_core.networks.importers.keys import Rules

Pairs = Mapping[str, str]
"""Their prefix -> ours."""

LAYER = r'(conv|bn)\.(\w+)'


def named(pairs: Pairs) -> Rules:
    """Rules for layers `<theirs>.conv` and `<theirs>.bn`."""
    return [(rf'{escape(a)}\.{LAYER}', rf'{b}.\1.\2') for a, b in pairs.items()]


def numbered(pairs: Pairs, conv: int, bn: int) -> Rules:
    """Rules for layers `<theirs>.<conv>`, without a bias, and `<theirs>.<bn>`."""
    return [
        rule
        for a, b in pairs.items()
        for rule in (
            (rf'{escape(a)}\.{conv}\.weight', f'{b}.conv.weight'),
            (rf'{escape(a)}\.{bn}\.(\w+)', rf'{b}.bn.\1'),
        )
    ]


def plain(pairs: Pairs) -> Rules:
    """Rules for one layer each."""
    return [(rf'{escape(a)}\.(\w+)', rf'{b}.\1') for a, b in pairs.items()]


def residual(pairs: Pairs) -> Rules:
    """Rules for residual blocks in stages below `<theirs>`, with named or numbered layers."""
    rules = []
    for a, b in pairs.items():
        block = rf'{escape(a)}((?:\.\d)*)'
        rules += [
            (rf'{block}\.conv([123])\.{LAYER}', rf'{b}\1.conv\2.\3.\4'),
            (rf'{block}\.downsample\.{LAYER}', rf'{b}\1.shortcut.\2.\3'),
            (rf'{block}\.downsample\.0\.weight', rf'{b}\1.shortcut.conv.weight'),
            (rf'{block}\.downsample\.1\.(\w+)', rf'{b}\1.shortcut.bn.\2'),
            (rf'{block}\.conv([123])\.weight', rf'{b}\1.conv\2.conv.weight'),
            (rf'{block}\.bn([123])\.(\w+)', rf'{b}\1.conv\2.bn.\3'),
        ]
    return rules
