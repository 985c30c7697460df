"""Pairs of messages by their stamps: an image and its labels, an image and its mask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pairing:
    """`partner`: by place among the images, the place of the partner.

    The rest are places of messages that need a word: images without a partner, partners without
    an image, images and partners whose stamp an earlier one of them has, and pairs whose stamps
    differ.
    """

    partner: dict[int, int]
    alone: tuple[int, ...]
    unused: tuple[int, ...]
    doubled: tuple[int, ...]
    near: tuple[int, ...]


def pair(images: Sequence[int], partners: Sequence[int], tolerance_ns: int = 0) -> Pairing:
    """Pair the stamps of images with those of their partners, both in nanoseconds.

    Equal stamps are paired in the order of the messages. An image that is left takes the nearest
    partner that is left, if their stamps differ by `tolerance_ns` at most; the closest pairs are
    formed first.
    """
    waiting: dict[int, list[int]] = defaultdict(list)
    for place, stamp in reversed([*enumerate(partners)]):
        waiting[stamp].append(place)
    partner: dict[int, int] = {}
    doubled: list[int] = []
    seen: set[int] = set()
    for place, stamp in enumerate(images):
        if stamp in seen:
            doubled.append(place)
        seen.add(stamp)
        if waiting[stamp]:
            partner[place] = waiting[stamp].pop()
    near = _nearest(images, partners, tolerance_ns, partner) if tolerance_ns > 0 else {}
    partner |= near
    used = set(partner.values())
    return Pairing(
        partner=partner,
        alone=tuple(place for place in range(len(images)) if place not in partner),
        unused=tuple(place for place in range(len(partners)) if place not in used),
        doubled=tuple(doubled),
        near=tuple(sorted(near)),
    )


def _nearest(
    images: Sequence[int], partners: Sequence[int], tolerance_ns: int, exact: dict[int, int]
) -> dict[int, int]:
    used = set(exact.values())
    free = sorted((stamp, place) for place, stamp in enumerate(partners) if place not in used)
    stamps = np.array([stamp for stamp, _ in free], np.int64)
    candidates = []
    for place, stamp in enumerate(images):
        if place in exact:
            continue
        first, last = np.searchsorted(stamps, [stamp - tolerance_ns, stamp + tolerance_ns + 1])
        candidates += [
            (abs(int(stamps[k]) - stamp), place, free[k][1]) for k in range(first, last)
        ]
    found: dict[int, int] = {}
    for _, place, other in sorted(candidates):
        if place not in found and other not in used:
            found[place] = other
            used.add(other)
    return found
