"""The domain shift monitor as a detector: where it fires, and whether the masks fail there.

The threshold comes from the source alone: no frame of the evaluation sets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median
from typing import Any

import numpy as np

from dgss_core.evaluation.scoring import ScoredFrame

THRESHOLD = 1.5
"""Standard deviations of the source; the default of the node's `domain_shift.limit`."""
DROP = 0.1
"""A frame has dropped if its mIoU is lower than that of a normal frame by this much."""


def detection(
    frames: Sequence[ScoredFrame], mious: Sequence[float | None], normal: str
) -> dict[str, Any] | None:
    """The monitor in the form `results.Monitor`; None if no frame has a shift.

    `mious`: of each frame, None without labels. `auroc`: how well the shift tells the frames whose
    mIoU is more than `DROP` below the median of the condition `normal`, or of all frames without
    one. None if no frame has dropped, or all have.
    """
    known = [(f.key.condition, f.shift) for f in frames if f.shift is not None]
    if not known:
        return None
    fires: dict[str, list[bool]] = {}
    for condition, shift in known:
        fires.setdefault(condition, []).append(shift > THRESHOLD)
    scored = [
        (frame.key.condition, frame.shift, miou)
        for frame, miou in zip(frames, mious, strict=True)
        if frame.shift is not None and miou is not None
    ]
    usual = [miou for condition, _, miou in scored if condition == normal]
    usual = usual or [miou for _, _, miou in scored]
    auroc = None
    if usual:
        bound = median(usual) - DROP
        auroc = rank_auroc([s for _, s, _ in scored], [m < bound for _, _, m in scored])
    return {
        'threshold': THRESHOLD,
        'alarm_share': {condition: mean(fired) for condition, fired in fires.items()},
        'drop': DROP,
        'auroc': auroc,
    }


def rank_auroc(values: Sequence[float], positive: Sequence[bool]) -> float | None:
    """The share of pairs of a positive and another in which the positive has the higher value.

    A tie counts half. None without pairs.
    """
    chosen = np.array(positive, bool)
    highs, lows = np.array(values)[chosen], np.sort(np.array(values)[~chosen])
    if not highs.size or not lows.size:
        return None
    below = np.searchsorted(lows, highs, 'left') + np.searchsorted(lows, highs, 'right')
    return float(below.sum() / (2 * highs.size * lows.size))
