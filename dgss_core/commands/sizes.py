"""Sizes of images as a command takes them."""

from __future__ import annotations

import re

from dgss_core.errors import DgssError

SMALLEST = 32
"""Pixels of a side."""


def parse_size(text: str) -> tuple[int, int]:
    """Width and height in pixels of a text such as 1280x720. Raises DgssError for another."""
    found = re.fullmatch(r'([0-9]{1,5})x([0-9]{1,5})', text)
    if not found or min(map(int, found.groups())) < SMALLEST:
        raise DgssError(f'{text} is no size; write WIDTHxHEIGHT in pixels, such as 1280x720.')
    return int(found[1]), int(found[2])
