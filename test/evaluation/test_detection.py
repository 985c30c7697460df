"""The shift monitor as a detector, against pairs that are counted one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgss_core.evaluation.detection import detection, rank_auroc
from dgss_core.evaluation.frames import FrameKey
from dgss_core.evaluation.scoring import ScoredFrame

RANKED = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=20)


@given(RANKED)
def test_the_auroc_counts_pairs(ranked: list[tuple[int, bool]]) -> None:
    highs = [value for value, positive in ranked if positive]
    lows = [value for value, positive in ranked if not positive]
    pairs = [1.0 if h > low else 0.5 if h == low else 0.0 for h in highs for low in lows]
    found = rank_auroc([v for v, _ in ranked], [p for _, p in ranked])
    assert found == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)


def frame(condition: str, shift: float | None) -> ScoredFrame:
    return ScoredFrame(FrameKey('a', '', condition), 0, 0, None, None, shift)


def test_the_monitor_fires_where_the_shift_exceeds_the_threshold() -> None:
    frames = [frame('day', 1.0), frame('day', 1.2), frame('night', 1.4), frame('night', 3.0)]
    found = detection(frames, [0.6, 0.62, 0.6, 0.3], 'day')
    assert found is not None
    assert found['alarm_share'] == {'day': 0, 'night': 0.5}
    # One frame has dropped by more than a tenth, and it has the largest shift.
    assert found['auroc'] == 1
    assert detection([frame('day', None)], [0.5], 'day') is None
    nothing = detection(frames, [None] * 4, 'day')
    assert nothing is not None
    assert nothing['auroc'] is None
