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
REGULAR = 0.9
"""Share of the intervals that must be whole numbers of periods; a triggered camera has none."""
VARIED = 0.5
"""Least standard deviation of these numbers, in their means, where hardly any is one: where most
images are lost at random it is nearly 1, after a single short interval of a steady camera 0.1."""


class StampGaps:
    """What the stamps of one camera say: the share of its images that is missing, and faults.

    The period of the camera is the mean of the shortest intervals between stamps; where most
    images are lost, only the very shortest may be one. A longer interval hides as many images as
    it has further periods, unless it is a pause of the camera.
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
        short = intervals[intervals < 1.5 * np.percentile(intervals, 10)]
        images = _whole(intervals, short.mean())
        if images is None:
            images = _whole(intervals, _fitted(intervals))
            if images is None or images.std() < VARIED * images.mean():
                return 0.0
        return float(1 - len(images) / max(images.sum(), len(images)))


def _whole(intervals: np.ndarray, period: float) -> np.ndarray | None:
    """The intervals as whole numbers of periods, (N,); None if too many are not."""
    periods = intervals / period
    images = periods.round()
    return images if (abs(periods - images) <= TOLERANCE).mean() >= REGULAR else None


def _fitted(intervals: np.ndarray) -> float:
    """The period of which the shortest interval is one, and the longer ones are multiples.

    The longest tell it most exactly, but how many periods they are only a fit to the others tells.
    """
    ordered = np.sort(intervals)
    period = float(ordered[0])
    for count in range(2, len(ordered) + 1):
        part = ordered[:count]
        images = (part / period).round()
        period = float(images @ part / (images @ images))
    return period
