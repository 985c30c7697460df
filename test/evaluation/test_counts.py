"""The counts of a frame against a loop over its pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dgss_core.errors import DgssError
from dgss_core.evaluation.counts import FrameCounts, from_arrays, near_boundary, to_arrays

ARRAYS = ('confusion', 'boundary', 'right', 'wrong', 'known', 'unknown')
CLASSES = 3


@st.composite
def frames(draw):
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    ids = arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 255]))
    levels = arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 17, 128, 255]))
    kinds = arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 255]))
    return draw(ids), draw(ids), draw(levels), draw(kinds), draw(st.integers(1, 3))


def count_slowly(mask, labels, confidence, ood, band):
    confusion = np.zeros((CLASSES, CLASSES + 1), int)
    found = {name: np.zeros(256, int) for name in ARRAYS[2:]}
    found |= {'confusion': confusion, 'boundary': confusion.copy()}
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            level = confidence[y, x]
            if ood[y, x] != 255:
                found['unknown' if ood[y, x] else 'known'][level] += 1
            if labels[y, x] == 255 or ood[y, x] == 1:
                continue
            cell = labels[y, x], min(mask[y, x], CLASSES)
            found['confusion'][cell] += 1
            found['right' if mask[y, x] == labels[y, x] else 'wrong'][level] += 1
            around = labels[max(0, y - band) : y + band + 1, max(0, x - band) : x + band + 1]
            if len({*around.ravel().tolist()} - {255}) > 1:
                found['boundary'][cell] += 1
    return found


@settings(max_examples=60, deadline=None)
@given(frames())
def test_every_count_equals_a_loop_over_the_pixels(frame):
    mask, labels, confidence, ood, band = frame
    counts = FrameCounts.of(mask, labels, confidence, classes=CLASSES, ood=ood, band=band)
    expected = count_slowly(mask, labels, confidence, ood, band)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(counts, name), expected[name], name)
        assert getattr(counts, name).dtype == np.int64
    assert (counts.frames, counts.pixels, counts.band) == (1, labels.size, band)


def test_the_boundary_is_where_another_label_is_near():
    labels = np.zeros((9, 12), np.uint8)
    labels[:, 6:] = 1
    expected = np.zeros((9, 12), bool)
    expected[:, 4:8] = True
    np.testing.assert_array_equal(near_boundary(labels, 2), expected)
    labels[:, 5] = 255  # Unlabelled: 6 still has 4 within two pixels.
    expected[:, [5, 7]] = False
    np.testing.assert_array_equal(near_boundary(labels, 2), expected)
    labels[:, 6:] = 255
    assert not near_boundary(labels, 2).any()


def test_counts_add_as_the_frames_side_by_side():
    rng = np.random.default_rng(0)
    mask, labels = rng.integers(0, 3, (2, 8, 30)).astype(np.uint8)
    confidence, ood = rng.integers(0, 2, (2, 8, 30)).astype(np.uint8)
    labels[:, 12:18] = 255  # Nothing is near across the cut.
    halves = [
        FrameCounts.of(
            mask[:, cut], labels[:, cut], confidence[:, cut], classes=3, ood=ood[:, cut], band=2
        )
        for cut in (slice(0, 15), slice(15, 30))
    ]
    whole = FrameCounts.of(mask, labels, confidence, classes=3, ood=ood, band=2)
    total = halves[0] + halves[1]
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(total, name), getattr(whole, name))
    assert (total.frames, total.pixels) == (2, 240)


def test_without_confidence_and_ood_labels_only_classes_are_counted():
    labels = np.array([[0, 1]], np.uint8)
    counts = FrameCounts.of(labels, labels, classes=2)
    assert counts.confusion.sum() == 2
    assert not any(getattr(counts, name).any() for name in ARRAYS[2:])


def test_counts_of_other_classes_or_another_band_do_not_add():
    labels = np.zeros((2, 2), np.uint8)
    counts = FrameCounts.of(labels, labels, classes=2)
    for other in ({'classes': 3}, {'classes': 2, 'band': 3}):
        with pytest.raises(ValueError, match='do not add'):
            counts + FrameCounts.of(labels, labels, **other)
    with pytest.raises(ValueError, match='at least 1'):
        FrameCounts.of(labels, labels, classes=2, band=0)


def test_arrays_give_the_same_counts_back():
    rng = np.random.default_rng(0)
    counts = [
        FrameCounts.of(*rng.integers(0, 3, (3, 5, 6)).astype(np.uint8), classes=3, band=2)
        for _ in range(4)
    ]
    arrays = dict(to_arrays(counts))
    for before, after in zip(counts, from_arrays(arrays), strict=True):
        assert (before.frames, before.pixels, before.band) == (1, 30, 2)
        assert (after.frames, after.pixels, after.band) == (1, 30, 2)
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    with pytest.raises(KeyError, match='boundary'):
        from_arrays({name: array for name, array in arrays.items() if name != 'boundary'})
    for name, bad in (('right', arrays['right'][:, :9]), ('frames', arrays['frames'] * 1.0)):
        with pytest.raises(ValueError, match=f'{name} is'):
            from_arrays({**arrays, name: bad})


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'mask': np.zeros((2, 4), np.uint8)}, 'mask is 4x2 and its labels are 3x2'),
        ({'confidence': np.zeros((4, 3), np.uint8)}, r'confidence of a frame are \(4, 3\)'),
        ({'ood': np.zeros((1, 1), np.uint8)}, 'OOD labels of a frame'),
        ({'ood': np.full((2, 3), 2, np.uint8)}, 'OOD labels hold the value 2; use 1 for'),
        ({'labels': np.full((2, 3), 2, np.uint8)}, 'labels hold the id 2'),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed, message):
    zeros = np.zeros((2, 3), np.uint8)
    with pytest.raises(DgssError, match=message):
        FrameCounts.of(**{'mask': zeros, 'labels': zeros, 'classes': 2, **changed})
