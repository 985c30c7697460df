"""Images and labels find each other by their stamps, and nothing is left out silently."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dgss_core.evaluation.pairing import pair

STAMPS = st.lists(st.integers(0, 60), max_size=12)


def test_equal_stamps_are_paired_in_any_order() -> None:
    found = pair([30, 10, 20], [10, 20, 40])
    assert found.partner == {1: 0, 2: 1}
    assert found.alone == (0,)
    assert found.unused == (2,)


def test_two_images_of_one_stamp_take_two_labels_in_their_order() -> None:
    found = pair([5, 5, 5], [5, 5])
    assert found.partner == {0: 0, 1: 1}
    assert found.doubled == (1, 2)
    assert found.alone == (2,)


def test_the_closest_pairs_come_first_within_the_tolerance() -> None:
    found = pair([100, 110, 200], [108, 150], tolerance_ns=10)
    # 108 is nearer to 110 than to 100, and 150 is too far from 200.
    assert found.partner == {1: 0}
    assert found.near == (1,)
    assert found.alone == (0, 2)


def test_an_exact_pair_is_never_given_up_for_a_near_one() -> None:
    assert pair([10, 11], [11], tolerance_ns=5).partner == {1: 0}


@given(STAMPS, STAMPS, st.integers(0, 20))
def test_every_message_is_paired_or_named(
    images: list[int], labels: list[int], tolerance: int
) -> None:
    found = pair(images, labels, tolerance)
    assert sorted([*found.partner, *found.alone]) == [*range(len(images))]
    assert sorted([*found.partner.values(), *found.unused]) == [*range(len(labels))]
    for image, label in found.partner.items():
        assert abs(images[image] - labels[label]) <= tolerance
        assert (images[image] != labels[label]) == (image in found.near)
    for image in found.alone:  # What is left could not have been paired.
        for label in found.unused:
            assert abs(images[image] - labels[label]) > tolerance
