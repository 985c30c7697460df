"""The confusion matrix against counts by hand."""

import math

import numpy as np
import pytest

from dgss_core.confusion import ConfusionMatrix
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet

LABELS = np.array([[0, 0, 0, 1], [1, 1, 2, 255]], np.uint8)
MASK = np.array([[0, 0, 1, 1], [1, 255, 0, 2]], np.uint8)


def test_counts_and_iou_by_hand():
    matrix = ConfusionMatrix(4)
    matrix.add(MASK, LABELS)
    expected = [
        [2, 1, 0, 0, 0],
        [0, 2, 0, 0, 1],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(matrix.counts, expected)
    # Class 0: 2 hits of 3 labelled and 3 predicted pixels; class 1: 2 of 3 and 3; class 2: one
    # labelled pixel, missed; class 3: none. The prediction on the unlabelled pixel is ignored.
    np.testing.assert_allclose(matrix.iou(), [2 / 4, 2 / 4, 0, np.nan])
    assert matrix.miou == pytest.approx(1 / 3)


def test_a_255_prediction_on_a_labelled_pixel_is_an_error():
    matrix = ConfusionMatrix(1)
    matrix.add(np.array([[0, 255]], np.uint8), np.array([[0, 0]], np.uint8))
    assert matrix.miou == 0.5


def test_the_iou_of_a_set_is_not_the_mean_over_images():
    """1 of 1 pixels are right in the first image, 1 of 3 in the second: 2 of 4 in the set."""
    first, second = ConfusionMatrix(2), ConfusionMatrix(2)
    first.add(np.array([[0]], np.uint8), np.array([[0]], np.uint8))
    second.add(np.array([[0, 1, 1]], np.uint8), np.array([[0, 0, 0]], np.uint8))
    total = first + second
    assert total.iou()[0] == pytest.approx(0.5)
    assert np.nanmean([first.iou()[0], second.iou()[0]]) == pytest.approx(2 / 3)
    np.testing.assert_array_equal(total.counts, first.counts + second.counts)
    assert first.counts.sum() == 1


def test_every_pixel_of_a_random_pair_is_counted_once():
    rng = np.random.default_rng(0)
    labels = rng.choice([*range(19), 255], (97, 101)).astype(np.uint8)
    mask = rng.choice([*range(19), 255], (97, 101)).astype(np.uint8)
    matrix = ConfusionMatrix(LabelSet.load('cityscapes19'))
    matrix.add(mask, labels)
    for i in range(19):
        for j in range(19):
            assert matrix.counts[i, j] == ((labels == i) & (mask == j)).sum()
    assert matrix.counts.sum() == (labels != 255).sum()


def test_nothing_labelled_has_no_score():
    matrix = ConfusionMatrix(3)
    matrix.add(MASK[:1] * 0, np.full((1, 4), 255, np.uint8))
    assert math.isnan(matrix.miou)


@pytest.mark.parametrize(
    ('mask', 'labels', 'message'),
    [
        (MASK, LABELS[:1], '4x2 and its labels are 4x1'),
        (MASK, LABELS + 3, 'labels hold the id 3'),
        (MASK + 5, LABELS, 'mask hold the id 4'),
    ],
)
def test_wrong_shapes_and_ids_are_refused(mask, labels, message):
    with pytest.raises(DgssError, match=message):
        ConfusionMatrix(3).add(mask, labels)


def test_matrices_of_other_sizes_do_not_add():
    with pytest.raises(ValueError, match='3 classes'):
        ConfusionMatrix(2) + ConfusionMatrix(3)
