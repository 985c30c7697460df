"""The scores of a random frame against torchmetrics."""

import numpy as np
import pytest

from dgss_core.evaluation.counts import FrameCounts
from dgss_core.evaluation.measures import measures

torch = pytest.importorskip('torch')

CLASSES = 7


@pytest.fixture(scope='module')
def tm():
    """Imported here: it takes seconds, which every process of the tests would pay."""
    return pytest.importorskip(
        'torchmetrics.functional.classification', reason='needs pip install torch torchmetrics'
    )


@pytest.fixture(scope='module')
def frame():
    """A mask that is right where it is sure; class 5 is absent, class 6 only predicted."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, (90, 110)).astype(np.uint8)
    confidence = rng.integers(0, 256, labels.shape).astype(np.uint8)
    wrong = rng.integers(0, 256, labels.shape) > confidence
    mask = np.where(wrong, rng.choice([0, 1, 2, 3, 4, 6], labels.shape), labels).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = 255
    ood = rng.choice([0, 1, 255], labels.shape, p=[0.7, 0.2, 0.1]).astype(np.uint8)
    return mask, labels, confidence, ood


def test_the_scores_of_classes_equal_torchmetrics(tm, frame):
    mask, labels, confidence, _ = frame
    found = measures(FrameCounts.of(mask, labels, confidence, classes=CLASSES))
    pair = torch.from_numpy(mask).int(), torch.from_numpy(labels).int()
    settings = {'num_classes': CLASSES, 'ignore_index': 255}
    each = tm.multiclass_jaccard_index(*pair, average='none', **settings).numpy()
    np.testing.assert_allclose(np.delete(found['iou'], 5), np.delete(each, 5), atol=1e-6)
    assert np.isnan(found['iou'][5])
    mean = tm.multiclass_jaccard_index(*pair, average='macro', **settings)
    assert found['miou'] == pytest.approx(float(mean), abs=1e-6)
    accuracy = tm.multiclass_accuracy(*pair, average='micro', **settings)
    assert found['accuracy'] == pytest.approx(float(accuracy), abs=1e-6)


def test_the_scores_of_confidence_equal_torchmetrics(tm, frame):
    mask, labels, confidence, ood = frame
    found = measures(FrameCounts.of(mask, labels, confidence, classes=CLASSES, ood=ood))
    valid = (labels != 255) & (ood != 1)
    right = torch.from_numpy(mask == labels)[torch.from_numpy(valid)].int()
    sure = torch.from_numpy(confidence[valid].astype(np.float64) / 255)
    labelled = ood != 255
    outside = torch.from_numpy(ood[labelled]).int()
    doubt = torch.from_numpy(1 - confidence[labelled].astype(np.float64) / 255)
    for prefix, success, target, score in (
        ('', 'aupr_success', right, sure),
        ('ood_', 'ood_auprc', outside, doubt),
    ):
        assert found[f'{prefix}auroc'] == pytest.approx(float(tm.binary_auroc(score, target)))
        average = float(tm.binary_average_precision(score, target))
        assert found[success] == pytest.approx(average, abs=1e-6)
        false, true, _ = tm.binary_roc(score, target)
        at_recall = false.numpy()[true.numpy() >= np.float32(0.95)].min()
        assert found[f'{prefix}fpr95'] == pytest.approx(float(at_recall), abs=1e-6)
    error = float(tm.binary_average_precision(1 - sure, 1 - right))
    assert found['aupr_error'] == pytest.approx(error, abs=1e-6)


def test_the_calibration_error_equals_torchmetrics_inside_its_bins(tm, frame):
    """torchmetrics puts the confidence 1 into a bin of its own, and rounds at the borders."""
    mask, labels, confidence, _ = frame
    confidence = np.where(confidence % 17 == 0, confidence // 2 + 1, confidence).astype(np.uint8)
    confidence[confidence % 17 == 0] = 40
    found = measures(FrameCounts.of(mask, labels, confidence, classes=CLASSES))['ece']
    valid = labels != 255
    sure = torch.from_numpy(confidence[valid].astype(np.float64) / 255)
    right = torch.from_numpy((mask == labels)[valid]).int()
    expected = tm.binary_calibration_error(sure, right, n_bins=15, norm='l1')
    assert found == pytest.approx(float(expected), abs=1e-6)
