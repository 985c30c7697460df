"""Scores in their JSON form, and the summaries over conditions."""

import json
from dataclasses import replace

import numpy as np
import pytest

from dgss_core.errors import DgssError
from dgss_core.evaluation.counts import FrameCounts
from dgss_core.evaluation.measures import measures
from dgss_core.evaluation.scores import bravo, retention, scores
from dgss_core.evaluation.scoring import Classes
from dgss_core.labels import Label, LabelSet

CAMVID = LabelSet.load('camvid11')
STREET = LabelSet(
    'street',
    tuple(Label(i, name, (i, i, i)) for i, name in enumerate(['road', 'car', 'sky', 'cow'])),
)


def random_counts(seed, error=0.3, ood=True):
    rng = np.random.default_rng(seed)
    labels, confidence = rng.integers(0, 3, (2, 40, 50)).astype(np.uint8)
    confidence = rng.integers(0, 256, labels.shape).astype(np.uint8)
    mask = np.where(rng.random(labels.shape) < error, 1, labels).astype(np.uint8)
    unknown = (rng.random(labels.shape) < 0.1).astype(np.uint8)
    return FrameCounts.of(mask, labels, confidence, classes=STREET, ood=unknown if ood else None)


def test_scores_are_json_and_name_their_counts():
    found = json.loads(json.dumps(scores(random_counts(0), STREET), allow_nan=False))
    values = measures(random_counts(0))
    assert found['frames'] == 1
    assert found['pixels'] == 2000
    assert found['labelled_pixels'] == found['confidence_pixels'] < 2000
    assert found['miou'] == pytest.approx(values['miou'])
    assert found['iou']['car'] == pytest.approx(values['iou'][1])
    assert found['ood']['auprc'] == pytest.approx(values['ood_auprc'])
    assert found['ood']['pixels'] == 2000
    assert len(found['reliability']) == 15
    assert sum(entry['pixels'] for entry in found['reliability']) == found['confidence_pixels']


def test_absent_and_unlabelled_classes_are_named():
    labels = np.array([[0, 0, 1, 1]], np.uint8)
    mask = np.array([[0, 0, 1, 2]], np.uint8)
    found = scores(FrameCounts.of(mask, labels, classes=STREET), STREET)
    assert found['absent']['classes'] == ['cow']
    assert found['iou']['cow'] is None
    assert found['unlabelled']['classes'] == ['sky']
    assert found['iou']['sky'] == 0
    assert found['miou'] == pytest.approx((1 + 0.5 + 0) / 3)
    assert 'left out' in found['absent']['treatment']
    assert 'IoU 0' in found['unlabelled']['treatment']


def test_without_confidence_or_labels_the_scores_are_null():
    labels = np.full((2, 3), 255, np.uint8)
    found = scores(FrameCounts.of(labels, labels, classes=STREET), STREET)
    for name in ('miou', 'accuracy', 'boundary_iou', 'ece', 'auroc', 'fpr95', 'ood'):
        assert found[name] is None
    json.dumps(found, allow_nan=False)


def test_a_subset_of_classes_has_its_own_mean():
    names = LabelSet.load('cityscapes19')
    rng = np.random.default_rng(0)
    mask, labels = rng.integers(0, 19, (2, 30, 40)).astype(np.uint8)
    found = scores(FrameCounts.of(mask, labels, classes=names), names)
    for name, members in names.subsets.items():
        expected = np.mean([found['iou'][names.names[index]] for index in members])
        assert found['subsets'][name] == pytest.approx(expected)
    assert len(found['subsets']) == len(names.subsets) > 0


def test_counts_of_another_label_set_are_refused():
    with pytest.raises(ValueError, match='11 classes'):
        scores(random_counts(0), CAMVID)


def test_bravo_is_the_harmonic_mean_of_harmonic_means():
    found = {
        'night': scores(random_counts(0), STREET),
        'rain': scores(random_counts(1, error=0.6, ood=False), STREET),
    }
    semantic, ood = [], []
    for entry in found.values():
        semantic += [entry[key] for key in ('miou', 'auroc', 'aupr_success', 'aupr_error')]
        semantic += [1 - entry['ece'], 1 - entry['fpr95']]
    unknown = found['night']['ood']
    ood = [unknown['auroc'], unknown['auprc'], 1 - unknown['fpr95']]

    def harmonic(values):
        return len(values) / sum(1 / value for value in values)

    result = bravo(found)
    assert result['semantic'] == pytest.approx(harmonic(semantic))
    assert result['ood'] == pytest.approx(harmonic(ood))
    assert result['index'] == pytest.approx(harmonic([result['semantic'], result['ood']]))
    assert result['conditions']['night'] == pytest.approx(harmonic(semantic[:6] + ood))
    assert result['conditions']['rain'] == pytest.approx(harmonic(semantic[6:]))


def test_bravo_is_null_where_a_score_is_missing():
    labels = np.zeros((2, 3), np.uint8)
    unsure = scores(FrameCounts.of(labels, labels, classes=STREET), STREET)
    result = bravo({'night': scores(random_counts(0), STREET), 'day': unsure})
    assert result['conditions']['night'] is not None
    assert result['conditions']['day'] is result['semantic'] is result['index'] is None
    assert result['ood'] is not None
    assert bravo({}) == {'conditions': {}, 'semantic': None, 'ood': None, 'index': None}


def test_a_score_of_zero_makes_the_harmonic_mean_zero():
    labels = np.zeros((2, 2), np.uint8)
    confidence = np.array([[0, 90], [200, 255]], np.uint8)
    mask = np.array([[0, 0], [1, 1]], np.uint8)  # Sure where it is wrong: AUROC 0.
    found = scores(FrameCounts.of(mask, labels, confidence, classes=STREET), STREET)
    assert found['auroc'] == 0
    assert bravo({'day': found})['semantic'] == 0


def test_retention_is_the_adverse_over_the_normal_score():
    found = {
        'day': {'miou': 0.6},
        'night': {'miou': 0.3},
        'rain': {'miou': 0.45},
        'fog': {'miou': None},
    }
    result = retention(found, 'day')
    assert result['conditions'] == {
        'night': pytest.approx(0.5),
        'rain': pytest.approx(0.75),
        'fog': None,
    }
    assert result['mean'] == pytest.approx(0.625)
    for nothing in ('snow', 'fog'):
        result = retention(found, nothing)
        assert result['mean'] is None
        assert not any(result['conditions'].values())


def test_what_a_bundle_lacks_is_added_to_the_labels():
    """The way that the sentence names works."""
    with pytest.raises(DgssError) as caught:
        Classes.of(CAMVID, STREET, STREET)
    assert str(caught.value).endswith(
        'add a merges: camvid11: section to the file of street, and score in camvid11 with '
        '--label-set.'
    )
    merging = replace(STREET, merges={'camvid11': {'road': 'road', 'car': 'car', 'sky': 'sky'}})
    with pytest.raises(DgssError, match="nothing about 'street'; score in camvid11 with --label"):
        Classes.of(CAMVID, merging, merging)
    assert Classes.of(CAMVID, merging, CAMVID).label_set == CAMVID
