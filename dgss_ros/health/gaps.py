"""Finds from the stamps how many images were lost, and images without a stamp of their own."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np

WINDOW = 50
"""Number of last stamps that are compared."""
LEAST = 20
"""Number of intervals from which a loss is reported. Random intervals look like whole periods in
less than one in a thousand series of this length."""
TOLERANCE = 0.2
"""Largest distance of an interval from a whole number of periods, in periods."""
RECENT = 10
"""Number of last images of which more than half without a stamp of their own are reported."""
PAUSE = 10.0
"""Length of an interval, in medians of all, from which the camera paused or its clock was set: as
many images are hardly ever lost in a row while half of the others arrive."""
SHORTEST = (10, 0)
"""Percentiles of the intervals near which the period is looked for. Of many lost images only few
intervals are of one period; a single short one may be a fault of its stamp."""
REFINED = (2, 4, 8)
"""Lengths in periods up to which intervals tell the period, one after the other: long ones tell it
better, once it is known well enough to count their periods."""
SAME = 0.7
"""Share of the intervals of one and the same length, of several periods, from which that length is
the period of the camera, and the shorter intervals are faults of their stamps."""
REGULAR = 0.9
"""Share of the intervals that must be whole numbers of periods; a triggered camera has none."""


class StampGaps:
    """What the stamps of one camera say: the share of its images that is missing, and faults.

    The period of the camera is found from the shortest intervals between stamps. A longer
    interval hides as many images as it has further periods, unless it is a pause of the camera.
    """

    def __init__(self) -> None:
        self._stamps: deque[int] = deque(maxlen=WINDOW)
        self._faults: deque[str] = deque(maxlen=RECENT)

    def add(self, stamp_ns: int) -> None:
        """Add the stamp of an image that has arrived; one up to 0 is no stamp."""
        if stamp_ns <= 0:
            self._faults.append('have no stamp')
            return
        repeats = bool(self._stamps) and stamp_ns == self._stamps[-1]
        self._faults.append('repeat one stamp' if repeats else '')
        if self._stamps and stamp_ns <= self._stamps[-1]:
            self._stamps.clear()  # a bag that starts again, or another camera
        self._stamps.append(stamp_ns)

    @property
    def fault(self) -> str:
        """What is wrong with the stamps of most of the last images; empty for nothing."""
        # A copy, because another thread may add a stamp.
        ((fault, count),) = Counter(self._faults.copy()).most_common(1) or [('', 0)]
        return fault if 2 * count > RECENT else ''

    @property
    def lost(self) -> float:
        """The share of the images that is missing, 0 to 1; 0 for irregular or few stamps."""
        # A copy, because another thread may add a stamp.
        intervals = np.diff(np.array(self._stamps.copy(), np.int64))
        intervals = (
            intervals[intervals <= PAUSE * np.median(intervals)] if len(intervals) else intervals
        )
        if len(intervals) < LEAST:
            return 0.0
        for percentile in SHORTEST:
            periods = intervals / _period(intervals, percentile)
            images = periods.round()
            if (abs(periods - images) <= TOLERANCE).mean() >= REGULAR:
                usual = np.median(images)
                if usual > 1 and (images == usual).mean() > SAME:
                    return 0.0
                return float(1 - len(images) / max(images.sum(), len(images)))
        return 0.0


def _period(intervals: np.ndarray, percentile: int) -> float:
    """The period of a camera whose shortest intervals lie at `percentile`, in their unit."""
    period = intervals[intervals < 1.5 * np.percentile(intervals, percentile)].mean()
    for most in REFINED:
        images = (intervals / period).round()
        near = (images > 0) & (images <= most)
        if near.any():
            period = intervals[near].sum() / images[near].sum()
    return period
