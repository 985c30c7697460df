"""Checkpoints in the layouts of their publishers, as stand-ins for the published files."""

from __future__ import annotations

import re

FAMIX = {'encoder_options': {'layers': [1, 1, 1, 1], 'width': 8}, 'width': 16, 'detail': 8}


TO_FAMIX = (
    (r'encoder\.(.*)', r'backbone.\1'),
    (r'head\.detail\.(.*)', r'classifier.project.\1'),
    (r'head\.pyramid\.branches\.(.*)', r'classifier.aspp.convs.\1'),
    (r'head\.pyramid\.pooled\.0\.(.*)', r'classifier.aspp.convs.4.1.\1'),
    (r'head\.pyramid\.pooled\.1\.(.*)', r'classifier.aspp.convs.4.2.\1'),
    (r'head\.pyramid\.project\.(.*)', r'classifier.aspp.project.\1'),
    (r'head\.fuse\.(.*)', r'classifier.classifier.\1'),
    (r'head\.classify\.(.*)', r'classifier.classifier.3.\1'),
)


def as_famix(state: dict) -> dict:
    published = {}
    for key, value in state.items():
        (name,) = [found.expand(to) for rule, to in TO_FAMIX if (found := re.fullmatch(rule, key))]
        published[name] = value
    return published
