"""The formulas of the scores, on pixel counts.

Arrays may have further axes in front; every formula gives one value for each of their entries, and
nan where it is not defined. A histogram is (..., 256), one bin for each value of a confidence, so
that the ranking scores are exact: pixels of one confidence are tied.
"""

from __future__ import annotations

import numpy as np

from dgss_core.confusion import class_iou
from dgss_core.evaluation.counts import LEVELS, FrameCounts

BINS = 15
"""Of the calibration error, equally wide, as in Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017. The confidence k / 255 lies in bin k // 17; the last bin includes 1."""
WIDTH = (LEVELS - 1) // BINS
RECALL = 0.95


def measures(counts: FrameCounts) -> dict[str, np.ndarray]:
    """Every score by name, float64 (...,) in 0 to 1; `iou` is (..., N), one for each class."""
    right, wrong = counts.right, counts.wrong
    # Little confidence is a sign of an error and of the unknown: the bins are read backwards.
    unknown, known = counts.unknown[..., ::-1], counts.known[..., ::-1]
    iou = class_iou(counts.confusion)
    return {
        'miou': class_mean(iou),
        'iou': iou,
        'accuracy': accuracy(counts.confusion),
        'boundary_iou': class_mean(class_iou(counts.boundary)),
        'ece': calibration_error(right, wrong),
        'auroc': auroc(right, wrong),
        'fpr95': false_positives_at_recall(right, wrong),
        'aupr_success': average_precision(right, wrong),
        'aupr_error': average_precision(wrong[..., ::-1], right[..., ::-1]),
        'ood_auroc': auroc(unknown, known),
        'ood_fpr95': false_positives_at_recall(unknown, known),
        'ood_auprc': average_precision(unknown, known),
    }


def class_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without nan; nan if all are."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(-1), known.sum(-1))


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """The share of labelled pixels whose class is right. `confusion`: (..., N, N + 1)."""
    hits = np.trace(confusion, axis1=-2, axis2=-1)
    return _ratio(hits, confusion.sum((-2, -1)))


def reliability(right: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, ...]:
    """Pixels, mean confidence and accuracy, (..., 15) each, of the bins of the confidence.

    `right`, `wrong`: histograms of the pixels whose class is right or wrong.
    """
    pixels = _binned(right + wrong)
    confidence = _binned((right + wrong) * (np.arange(LEVELS) / (LEVELS - 1)))
    return pixels, _ratio(confidence, pixels), _ratio(_binned(right), pixels)


def calibration_error(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """The expected calibration error: mean over pixels of |confidence - accuracy| of their bin."""
    pixels, confidence, accurate = reliability(right, wrong)
    gaps = np.where(pixels > 0, np.abs(confidence - accurate) * pixels, 0)
    return _ratio(gaps.sum(-1), pixels.sum(-1))


def auroc(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """The chance that a positive pixel ranks above a negative one; a tie counts one half."""
    positive, negative = positive.astype(float), negative.astype(float)
    below = np.cumsum(negative, -1) - negative / 2
    return _ratio((positive * below).sum(-1), positive.sum(-1) * negative.sum(-1))


def false_positives_at_recall(
    positive: np.ndarray, negative: np.ndarray, recall: float = RECALL
) -> np.ndarray:
    """The share of negatives at the highest threshold that finds `recall` of the positives."""
    found, total = _from_top(positive), positive.sum(-1)
    enough = _ratio(found, total[..., None]) >= recall
    first = np.argmax(enough, -1)[..., None]
    false = np.take_along_axis(_from_top(negative), first, -1)[..., 0]
    return np.where(total > 0, _ratio(false, negative.sum(-1)), np.nan)


def average_precision(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """The area under precision over recall as a sum of steps, without interpolation."""
    found = _from_top(positive)
    precision = _ratio(found, found + _from_top(negative))
    steps = np.where(positive[..., ::-1] > 0, precision * positive[..., ::-1], 0)
    return _ratio(steps.sum(-1), positive.sum(-1))


def _from_top(histogram: np.ndarray) -> np.ndarray:
    """How many pixels have at least each confidence, (..., 256), from the highest down."""
    return np.cumsum(histogram[..., ::-1], -1)


def _binned(histogram: np.ndarray) -> np.ndarray:
    return np.add.reduceat(histogram, np.arange(BINS) * WIDTH, axis=-1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
