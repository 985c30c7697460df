"""Files whose bytes were changed here and there, and that may be cut off, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

Changes = list[tuple[float, bytes]]
"""Bytes that replace others, and where: 0 is the start of the file, 1 its end."""


def changes(most: int, longest: int = 4) -> st.SearchStrategy[Changes]:
    """Up to `most` changes of 1 to `longest` bytes."""
    change = st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=longest))
    return st.lists(change, max_size=most)


def damaged(data: bytes, cut: float, made: Changes) -> bytes:
    """The first `cut` of the changed data, 1 for all of it."""
    changed = bytearray(data)
    for share, new in made:
        at = int(share * (len(changed) - len(new)))
        changed[at : at + len(new)] = new
    return bytes(changed[: int(len(changed) * cut)])
