"""The condition of a frame: from the topic of its bag, or from a file of time ranges."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from dgss_core.documents import read_yaml
from dgss_core.errors import DgssError, shown, unknown
from dgss_core.evaluation.frames import UNKNOWN
from dgss_core.evaluation.results import ALL
from dgss_core.synthetic import CONDITIONS

IGNORE = 'ignore'
"""The key of the ranges that are not evaluated."""
RESERVED = (ALL, IGNORE)
"""Names that no recording and no data set may give to a condition of its own."""
OUTSIDE = (
    'No image lies in a range of --conditions, so that all conditions are unknown; the ranges are '
    'in seconds since the first image, or since the epoch.'
)
EPOCH_S = 1e8
"""Times above it are seconds since the epoch, those below are seconds since the first image."""


@dataclass(frozen=True)
class TimeRanges:
    """Conditions by time. `ranges`: (name, begin, end) in seconds; `end` does not belong to it."""

    ranges: tuple[tuple[str, float, float], ...] = ()

    @classmethod
    def load(cls, path: Path) -> TimeRanges:
        """Read a YAML file such as `night: [[0, 30], [95.5, 120]]`.

        The keys are conditions, and `ignore` for what is not evaluated. Raises DgssError for other
        keys, for what is no range, and for ranges that overlap.
        """
        content = read_yaml(path)
        if not isinstance(content, Mapping) or not content:
            raise DgssError(f'{path} holds no conditions; write for example night: [[0, 30]].')
        known = (*CONDITIONS, IGNORE)
        for name in content:
            if name not in known:
                raise unknown('condition', str(name), known, owner=str(path))
        ranges = [
            (n, *_range(pair, path)) for n, pairs in content.items() for pair in _list(pairs)
        ]
        ranges.sort(key=lambda entry: entry[1])
        for (_, _, end), (_, begin, _) in pairwise(ranges):
            if begin < end:
                raise DgssError(
                    f'{path} has ranges that overlap at {begin:g} s; give each time one condition.'
                )
        return cls(tuple(ranges))

    def of(self, stamps_ns: Sequence[int]) -> list[str]:
        """The condition of each image of a drive."""
        first = min(stamps_ns, default=0)
        return [self.at(stamp, first) for stamp in stamps_ns]

    def at(self, stamp_ns: int, first_ns: int) -> str:
        """The condition at a stamp, or `IGNORE`, or `UNKNOWN` outside all ranges."""
        for name, begin, end in self.ranges:
            # A float of seconds since the epoch is not exact to the stamps of neighbours.
            time_s = (stamp_ns - (0 if begin > EPOCH_S else first_ns)) / 1e9
            if begin <= time_s < end:
                return name
        return UNKNOWN

    def ignored(self) -> list[list[float]]:
        """The ignored ranges, for the report."""
        return [[begin, end] for name, begin, end in self.ranges if name == IGNORE]


@dataclass(frozen=True)
class Changes:
    """Conditions as a bag announces them: each `names` holds from its time in `starts_ns` on."""

    starts_ns: tuple[int, ...]
    names: tuple[str, ...]

    def at(self, recorded_ns: int) -> str:
        """The condition at a time of recording; `UNKNOWN` before the first."""
        index = bisect_right(self.starts_ns, recorded_ns) - 1
        return self.names[index] if index >= 0 else UNKNOWN


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _range(pair: Any, path: Path) -> tuple[float, float]:
    numbers = isinstance(pair, list) and all(type(v) in (int, float) for v in pair)
    if not numbers or len(pair) != 2 or not 0 <= pair[0] < pair[1] or math.isinf(pair[1]):
        raise DgssError(
            f'{path} holds {shown(pair)}, which is no range of time; write [begin, end] in '
            'seconds from the first image, such as night: [[0, 30], [95.5, 120]].'
        )
    return float(pair[0]), float(pair[1])
