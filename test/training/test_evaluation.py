"""Scores of a model under evaluation protocols."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import CPU, parse, recipe, write_frames
from torch import Tensor

from dgss_core.confusion import ConfusionMatrix
from dgss_core.datasets import build_dataset
from dgss_core.datasets.protocols import ProtocolView, load_protocol
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.networks.inference import Inference
from dgss_core.training.evaluation import ModelSegmenter, ScoredSplit, protocol_inference, score
from dgss_core.training.fabric import Fabric
from dgss_core.training.loop import train


class ByColour(torch.nn.Module):
    """Predicts for every pixel the class with the nearest Cityscapes colour."""

    def __init__(self) -> None:
        super().__init__()
        self.label_set = LabelSet.load('cityscapes19')
        self.head, self.mean = self, torch.zeros(1)
        self.colors = torch.tensor([label.color for label in self.label_set.labels]).float()
        self.seen: list[tuple[int, int]] = []

    def at_size(self, images: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape[-2:]))
        return -(images[:, None] - self.colors.view(1, -1, 3, 1, 1)).abs().sum(2)

    def to_probabilities(self, scores: Tensor) -> Tensor:
        return scores.softmax(1)


def scored(root: Path, view: ProtocolView, look: Inference) -> tuple[ConfusionMatrix, list]:
    frames = build_dataset(write_frames(root), root / 'frames')
    model = ByColour()
    fabric = Fabric(accelerator='cpu', devices=1)
    split = ScoredSplit(frames, view, 'frames')
    return score(fabric, ModelSegmenter(model, look), split, shared=True), model.seen


def right(matrix: ConfusionMatrix) -> float:
    return np.trace(matrix.counts) / matrix.counts.sum()


def test_an_image_that_may_not_be_written_is_segmented_without_a_warning() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image.flags.writeable = False
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            ModelSegmenter(ByColour(), Inference())(image)
    finally:
        torch.set_warn_always(False)


def test_every_labelled_pixel_counts_at_its_own_size(tmp_path: Path) -> None:
    whole, seen = scored(tmp_path, ProtocolView(), Inference())
    assert whole.counts.sum() == 8 * 96 * 96
    assert right(whole) > 0.97
    assert set(seen) == {(96, 96)}
    small, seen = scored(tmp_path, ProtocolView(height=48), Inference())
    assert small.counts.sum() == 8 * 96 * 96, 'labels keep their size'
    assert right(small) > 0.9
    assert set(seen) == {(48, 48)}


def test_a_protocol_may_leave_frames_out_and_cut_labels(tmp_path: Path) -> None:
    none, _ = scored(tmp_path, ProtocolView(only=(1920, 1080)), Inference())
    assert none.counts.sum() == 0
    cut, _ = scored(tmp_path, ProtocolView(cut=(64, 32)), Inference())
    assert cut.counts.sum() == 8 * 32 * 64


def test_windows_come_from_the_protocol_unless_the_recipe_sets_them() -> None:
    rein, native = load_protocol('rein'), load_protocol('native')
    assert protocol_inference(rein, Inference(flip=True)) == Inference(
        (512, 512), (341, 341), flip=True
    )
    own = Inference(window=(256, 256))
    assert protocol_inference(rein, own) == own
    assert protocol_inference(native, Inference()) == Inference()


def test_scores_name_the_protocol_and_are_saved(tmp_path: Path) -> None:
    write_frames(tmp_path)
    values = recipe(tmp_path, 'dgss', steps=4)
    values['evaluation'] |= {'protocol': 'clouds', 'every': 2, 'look': {'ratios': [0.0625]}}
    train(parse(values), tmp_path, tmp_path / 'run', CPU)
    scores = [json.loads(line) for line in (tmp_path / 'run' / 'scores.jsonl').open()]
    assert [entry['step'] for entry in scores] == [2, 4]
    assert scores[0]['on'] == 'frames all, 8 frames, protocol clouds (whole images)'
    assert len(scores[0]['iou']) == 19
    known = [iou for iou in scores[0]['iou'] if iou is not None]
    assert scores[0]['miou'] == pytest.approx(np.mean(known))
    best = (tmp_path / 'run' / 'best.safetensors').read_bytes()
    last = (tmp_path / 'run' / 'model.safetensors').read_bytes()
    assert (best == last) == (scores[1]['miou'] > scores[0]['miou'])


def test_every_split_has_a_title_of_its_own(tmp_path: Path) -> None:
    # The scores of a split, and the best of them, are found by its title.
    frames = str(write_frames(tmp_path))
    write_frames(tmp_path / 'other')
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'list.txt').write_text('0\n1\n')
    splits = [
        {'dataset': frames},
        {'dataset': frames, 'folder': 'other/frames'},
        {'dataset': frames, 'options': {'listing': str(tmp_path / 'a' / 'list.txt')}},
        {'dataset': frames, 'options': {'listing': str(tmp_path / 'b' / 'list.txt')}},
        {'dataset': 'synthetic', 'options': {'seeds': [1], 'frames': 8}},
        {'dataset': 'synthetic', 'options': {'seeds': [2], 'frames': 8}},
    ]
    opened = parse(recipe(tmp_path, evaluation={'splits': splits})).evaluation.open(tmp_path)
    end = ', protocol native (whole images)'
    assert [split.title.replace(end, '') for split in opened] == [
        'frames all, 8 frames',
        'frames all, 8 frames, folder other/frames',
        'frames all, 2 frames, listing list.txt',
        'frames all, 2 frames, listing list.txt, number 2',
        'synthetic drive, 1 seeds, 8 frames, seeds [1]',
        'synthetic drive, 1 seeds, 8 frames, seeds [2]',
    ]


def test_an_unknown_protocol_is_named(tmp_path: Path) -> None:
    write_frames(tmp_path)
    values = recipe(tmp_path, 'dgss')
    values['evaluation'] |= {'protocol': 'ours'}
    with pytest.raises(DgssError, match="There is no protocol 'ours'"):
        train(parse(values), tmp_path, tmp_path / 'run', CPU)
