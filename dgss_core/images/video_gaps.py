"""How many frames a video lacks of which not even a packet is left, by the time between others."""

from __future__ import annotations

import statistics
from collections import deque
from typing import Any

from dgss_core.images.chain import Coded
from dgss_core.images.video_stamps import FASTEST

LAST = 1 << 63
"""After every time stamp."""
REORDERED = 16
"""At most so many pictures are kept by a decoder, to show them in their order."""
RECENT = 9
"""Steps of time of which the usual one is taken."""


class Gaps:
    """Looks at the pictures of one video, as they are shown.

    `knows_holes`: packets are lost in holes only, and not where a picture is damaged.
    """

    def __init__(self, stream: Any, *, knows_holes: bool) -> None:
        self._knows_holes = knows_holes
        self._base = stream.time_base
        rate = stream.guessed_rate or stream.average_rate
        self._usual = 1 / (rate * self._base) if rate and rate < FASTEST else 0
        self._steps: deque[int] = deque(maxlen=RECENT)
        self._before: Coded | None = None
        self._holes = 0

    def before(self, coded: Coded) -> int:
        """Frames that are missing between the picture before and this one; 0 if none is."""
        before, self._before = self._before, coded
        if before is None or before.pts is None or coded.pts is None or coded.pts == LAST:
            return 0
        step = coded.pts - before.pts
        is_after, self._holes = coded.holes > self._holes, max(coded.holes, self._holes)
        if not self._knows_holes:
            is_after = is_after or bool(before.is_bad or coded.is_bad)
        if not is_after and not coded.is_near:
            self._steps.append(step)
            return 0
        period = self._period(before)
        missing = round(step / period) - 1 if period else 0
        # What is longer is a pause, if only the order of the pictures hides what is lost.
        return max(missing, 0) if is_after or missing <= REORDERED else 0

    def _period(self, before: Coded) -> Any:
        """In ticks; 0 if it is not known. Of durations some recorders make up all."""
        if self._steps:
            return statistics.median(self._steps)
        is_usable = before.label and before.label * self._base * FASTEST > 1
        return before.label if is_usable else self._usual
