from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_systems import small
from tiny_training import write_frames

from dgss_core.datasets import build_dataset
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.networks.losses.merged import MergedLoss
from dgss_core.runtime.bundle import open_bundle
from dgss_core.training.data import label_tables

CITYSCAPES, CAMVID = LabelSet.load('cityscapes19'), LabelSet.load('camvid11')
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / 'training' / 'train_street.py'
RECIPE = ROOT / 'config' / 'train' / 'street-mobilenetv2.yaml'


def test_merged_loss_is_cross_entropy_for_the_models_own_labels() -> None:
    scores, labels = torch.randn(2, 19, 6, 8), torch.randint(0, 19, (2, 6, 8))
    labels[0, 0] = IGNORE
    loss = MergedLoss(CITYSCAPES, [CAMVID])(scores, labels)
    torch.testing.assert_close(loss, F.cross_entropy(scores, labels, ignore_index=IGNORE))


def test_merged_loss_aligns_corners_as_the_head_does() -> None:
    scores, labels = torch.randn(2, 19, 3, 4), torch.randint(0, 19, (2, 6, 8))
    up = F.interpolate(scores, (6, 8), mode='bilinear', align_corners=True)
    loss = MergedLoss(CITYSCAPES, [CAMVID], align_corners=True)(scores, labels)
    torch.testing.assert_close(loss, F.cross_entropy(up, labels))


def test_merged_loss_smooths_labels_as_the_head_does() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(2, 19, 6, 8), torch.randint(0, 19, (2, 6, 8))
    labels[0, 0] = IGNORE
    criterion = MergedLoss(CITYSCAPES, [CAMVID], label_smoothing=0.1)
    expected = F.cross_entropy(scores, labels, ignore_index=IGNORE, label_smoothing=0.1)
    torch.testing.assert_close(criterion(scores, labels), expected)
    # CamVid's car is the car of Cityscapes and its other vehicles: a sum of probabilities.
    car = criterion.offset['camvid11'] + CAMVID.names.index('car')
    classes = criterion.members[CAMVID.names.index('car')]
    likely = scores.log_softmax(1)
    expected = -0.9 * likely[:, classes].logsumexp(1).mean() - 0.1 * likely.mean()
    torch.testing.assert_close(criterion(scores, torch.full_like(labels, car)), expected)


def test_a_head_keeps_its_smoothing_with_several_label_sets(tmp_path: Path) -> None:
    fine = write_frames(tmp_path)
    coarse = tmp_path / 'coarse.yaml'
    coarse.write_text(fine.read_text().replace('cityscapes19', 'camvid11'))
    datasets = [build_dataset(path, tmp_path / 'frames') for path in (fine, coarse)]
    model = small('famix-rn50')
    merged = label_tables(model, datasets)[1]
    assert merged is not None
    assert merged.label_smoothing == model.head.label_smoothing == 0.1


def test_a_coarse_label_is_satisfied_by_any_class_it_merges() -> None:
    criterion = MergedLoss(CITYSCAPES, [CAMVID])
    bicyclist = criterion.offset['camvid11'] + CAMVID.names.index('bicyclist')
    labels = torch.full((1, 1, 1), bicyclist)

    def loss(name: str) -> float:
        scores = torch.full((1, 19, 1, 1), -20.0)
        scores[0, CITYSCAPES.names.index(name)] = 20.0
        return criterion(scores, labels).item()

    assert all(loss(name) < 1e-4 for name in ('rider', 'motorcycle', 'bicycle'))
    assert loss('person') > 10


@pytest.mark.parametrize('name', ['car', 'bicycle'])
@pytest.mark.parametrize('gap', [5.0, 30.0, 300.0])
def test_merged_loss_corrects_what_is_surely_wrong(name: str, gap: float) -> None:
    scores = torch.zeros(1, 19, 1, 1)
    scores[0, CITYSCAPES.names.index('sky')] = gap
    scores.requires_grad_()
    criterion = MergedLoss(CITYSCAPES, [CAMVID])
    label = CITYSCAPES.names.index('car')
    if name == 'bicycle':
        label = criterion.offset['camvid11'] + CAMVID.names.index('bicyclist')
    loss = criterion(scores, torch.full((1, 1, 1), label))
    loss.backward()
    assert loss.item() == pytest.approx(gap, abs=4)
    assert scores.grad.abs().sum().item() == pytest.approx(2, abs=0.2)


def test_merged_loss_is_zero_where_nothing_is_labelled() -> None:
    labels = torch.full((1, 4, 4), IGNORE)
    scores = torch.randn(1, 19, 4, 4, requires_grad=True)
    loss = MergedLoss(CITYSCAPES, [CAMVID])(scores, labels)
    loss.backward()
    assert loss.item() == 0
    assert scores.grad.abs().max() == 0


@pytest.mark.timeout(600)
def test_the_training_script_makes_a_bundle(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [{'dataset': 'synthetic', 'split': 'train', 'options': {'seeds': [1000], 'frames': 2}}]
    score = [{'dataset': 'camvid', 'split': 'dusk', 'options': {'listing': str(tmp_path / 'two')}}]
    (tmp_path / 'two').write_text('0001TP_006690\n0001TP_006720\n')
    arguments = [
        '--data', shared / 'data', '--output', tmp_path / 'run',
        '--recipe', RECIPE, '--recipe.steps', '2', '--recipe.batch', '2',
        '--recipe.weights', shared / 'weights/mobilenetv2_imagenet_fp16.safetensors',
        '--recipe.sources', json.dumps(few), '--recipe.evaluation.splits', json.dumps(score),
        '--recipe.augmentation.crop', '[64,96]', '--size', '[64,96]', '--hardware.workers', '0',
    ]  # fmt: skip
    monkeypatch.setattr(sys, 'argv', [str(SCRIPT), *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name='__main__')
    metrics = open_bundle(tmp_path / 'run' / 'bundle').manifest.metrics
    assert set(metrics) == {'mIoU CamVid dusk, 2 frames'}
