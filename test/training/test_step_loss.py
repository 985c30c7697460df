"""The loss of a step does not depend on how its batch is cut into passes and processes."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny_training import CPU, exact_system, parse, recipe, write_frames, write_recipe
from torch import Tensor
from two_processes import run_two

from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.networks.losses.counts import Counts
from dgss_core.networks.losses.merged import MergedLoss
from dgss_core.networks.losses.segmentation import segmentation_loss
from dgss_core.networks.losses.set_criterion import SetCriterion
from dgss_core.training.config import HardwareConfig
from dgss_core.training.data import batches
from dgss_core.training.distill import Frame, divergence
from dgss_core.training.loop import setup, train
from dgss_core.training.objective import subsample
from dgss_core.training.parallel import build_fabric
from dgss_core.training.record import Record


def uneven_labels() -> Tensor:
    """(4,16,16): the images have 100, 1, 50 and 0 per cent labelled pixels."""
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (4, 16, 16))
    for image, kept in enumerate((256, 3, 128, 0)):
        labels[image].view(-1)[kept:] = 255
    return labels


def mean_of_passes(loss, scores: Tensor, labels: Tensor, at_once: int) -> Tensor:
    passes = len(labels) // at_once
    counts = Counts.of(labels).mean(passes)
    cut = zip(scores.split(at_once), labels.split(at_once), strict=True)
    return torch.stack([loss(x, y, counts) for x, y in cut]).mean()


@pytest.mark.parametrize('at_once', [1, 2, 4])
def test_cross_entropy_weighs_all_pixels_of_a_step_alike(at_once: int) -> None:
    scores, labels = torch.randn(4, 4, 16, 16), uneven_labels()

    def loss(x: Tensor, y: Tensor, counts: Counts) -> Tensor:
        return segmentation_loss(x, y, counts=counts)

    expected = F.cross_entropy(scores, labels, ignore_index=255)
    torch.testing.assert_close(mean_of_passes(loss, scores, labels, at_once), expected)


@pytest.mark.parametrize('at_once', [1, 2, 4])
def test_merged_label_sets_weigh_all_pixels_of_a_step_alike(at_once: int) -> None:
    fine, coarse = LabelSet.load('cityscapes19'), LabelSet.load('camvid11')
    scores, labels = torch.randn(4, 19, 16, 16), uneven_labels()
    merged = MergedLoss(fine, [coarse])
    found = mean_of_passes(merged, scores, labels, at_once)
    torch.testing.assert_close(found, F.cross_entropy(scores, labels, ignore_index=255))


@pytest.mark.parametrize('at_once', [1, 2, 4])
def test_the_set_criterion_counts_queries_and_masks_of_a_step(at_once: int) -> None:
    labels = uneven_labels()
    classes = torch.randn(4, 6, 5)
    # Flat masks: no loss depends on the random points.
    masks = torch.randn(4, 6, 1, 1).expand(-1, -1, 8, 8)
    criterion = SetCriterion(points=16)
    labels = labels[:, :1, :1].expand(-1, 16, 16).clone()
    labels[0, 8:] = 255
    labels[1] = 255

    def losses(images: slice, counts: Counts | None) -> Tensor:
        labelled = labels[images].clone()
        labelled[labelled != 255] = 2
        found = criterion([(classes[images], masks[images])], labelled, counts)
        return found['class_0']

    passes = 4 // at_once
    whole = losses(slice(None), None)
    counts = Counts.of(labels.where(labels == 255, 2)).mean(passes)
    parts = [losses(slice(i, i + at_once), counts) for i in range(0, 4, at_once)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_a_step_without_labels_costs_nothing() -> None:
    labels = torch.full((2, 8, 8), 255)
    found = segmentation_loss(torch.randn(2, 3, 8, 8), labels, counts=Counts.of(labels).mean(2))
    assert found.item() == 0


def write_uneven(root: Path) -> None:
    """Eight frames; every second one has only one labelled block of sixteen."""
    write_frames(root)
    for path in sorted((root / 'frames' / 'labels').glob('*.png'))[::2]:
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        labels[24:], labels[:, 24:] = 255, 255
        cv2.imwrite(str(path), labels)


def uneven_recipe(root: Path) -> dict:
    # Plain SGD: Adam amplifies rounding errors of gradients close to zero.
    optimiser = {'name': 'sgd', 'rate': 0.05}
    changes = {'system': exact_system(), 'options': {}, 'mixing': None, 'optimiser': optimiser}
    augmentation = {'crop': [96, 96], 'color': 'none'}
    return recipe(root, 'dgss', steps=4, augmentation=augmentation) | changes


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / 'model.safetensors')


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    for name, x in one.items():
        torch.testing.assert_close(x, other[name], atol=2e-5, rtol=1e-4, msg=name)


def test_passes_and_processes_learn_what_one_pass_learns(tmp_path: Path) -> None:
    write_uneven(tmp_path)
    values = uneven_recipe(tmp_path)
    train(parse(values), tmp_path, tmp_path / 'whole', CPU)
    whole = weights(tmp_path / 'whole')
    for at_once in (1, 2):
        hardware = HardwareConfig('cpu', '32-true', at_once=at_once, workers=0)
        train(parse(values), tmp_path, tmp_path / str(at_once), hardware)
        assert_same(whole, weights(tmp_path / str(at_once)))
    run_two(write_recipe(tmp_path / 'r.yaml', values), tmp_path, tmp_path / 'two', 'ddp')
    assert_same(whole, weights(tmp_path / 'two'))


def test_a_batch_knows_where_its_frames_end(tmp_path: Path) -> None:
    write_frames(tmp_path)
    augmentation = {'crop': [128, 160], 'color': 'none', 'fill': [9, 9, 9], 'flip': 0.5}
    config = parse(recipe(tmp_path, 'dgss', augmentation=augmentation))
    training = setup(build_fabric(CPU), config, tmp_path, Record(tmp_path / 'run', True), CPU)
    for batch in islice(batches(training.loader), 2):
        assert torch.equal(batch.inside, batch.labels != 255)
        assert (batch.images.permute(0, 2, 3, 1)[~batch.inside] == 9).all()
        assert batch.inside.float().mean().item() == pytest.approx(96 * 96 / (128 * 160))


def test_the_divergence_does_not_count_the_fill() -> None:
    torch.manual_seed(0)
    scores, target = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8).softmax(1)
    inside = torch.zeros(2, 32, 32, dtype=torch.bool)
    inside[:, :16] = True
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    frame = Frame((32, 32), (32, 32), inside, Counts.of(labels, inside))
    expected = divergence(scores[:, :, :4], target[:, :, :4], 1.0)
    torch.testing.assert_close(divergence(scores, target, 1.0, frame), expected)
    assert np.isfinite(expected.item())


@pytest.mark.parametrize('stride', [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize('side', [64, 63, 24])
def test_labels_are_taken_where_scores_are_compared(stride: int, side: int) -> None:
    places = torch.arange(side).float().view(1, -1, 1).expand(1, side, side)
    taken = subsample(places, stride)[0, :, 0] + 0.5
    assert len(taken) == -(-side // stride)
    scored = (torch.arange(len(taken)) + 0.5) * side / len(taken)
    assert (taken - scored).abs().max() <= 0.5 + 1e-4
    if stride % 2 and side % stride == 0:
        torch.testing.assert_close(taken, scored)


def test_a_label_stride_has_a_bound(tmp_path: Path) -> None:
    with pytest.raises(DgssError, match='label_stride is 1 to 16, not 17'):
        parse(recipe(tmp_path, label_stride=17))
