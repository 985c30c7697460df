"""Names of frames as names of files."""

from __future__ import annotations

from dgss_core.evaluation.frames import flat_name


def test_no_two_frames_share_a_file() -> None:
    taken: set[str] = set()
    names = ['a/b_c', 'a_b/c', 'a_b_c', 'a_b_c_2', 'x']
    found = [flat_name(name, taken) for name in names]
    assert found == ['a_b_c', 'a_b_c_2', 'a_b_c_3', 'a_b_c_2_2', 'x']
    assert taken == {*found}
