"""A training that cannot learn is refused before it begins; one that fails loses nothing."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from tiny_training import CPU, parse, recipe, write_frames
from torch import nn

from dgss_core.cli import main
from dgss_core.datasets.contents import spread
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.training.augmentation import ClassStatistics, RareClassSampler
from dgss_core.training.checks import explained, told_of_warmup
from dgss_core.training.config import HardwareConfig
from dgss_core.training.loop import train


def write_labels(root: Path, *values: int, classes: int = 2) -> dict:
    """A recipe on frames whose labels are stripes of `values`, with its own label set."""
    write_frames(root)
    for path in (root / 'frames' / 'labels').glob('*.png'):
        stripes = np.array(values, np.uint8)[np.arange(96) * len(values) // 96]
        cv2.imwrite(str(path), np.broadcast_to(stripes, (96, 96)))
    names = ('other', 'drivable', 'obstacle', 'sky', 'wall')[:classes]
    write_set(root / 'own.yaml', names)
    (root / 'frames.yaml').write_text(
        'images: images/{name}.png\nlabels: labels/{name}.png\nlabel_set: own.yaml\n'
    )
    return recipe(root, label_set=str(root / 'own.yaml'), steps=2)


def write_set(path: Path, names: tuple[str, ...]) -> None:
    labels = [{'id': i, 'name': n, 'color': [90 * i % 256, 9, 9]} for i, n in enumerate(names)]
    path.write_text(yaml.safe_dump({'name': 'own', 'labels': labels}))


@pytest.mark.parametrize(
    ('values', 'classes', 'says'),
    [
        ((255,), 2, 'has no labelled pixel'),
        ((0, 255), 2, r"the class 'drivable' \(1\) does not occur .* 50% .*255: drivable"),
        ((0, 1, 255), 3, r"the class 'obstacle' \(2\) does not occur"),
        ((1, 255), 5, r"the class 'other' \(0\) does not occur"),
    ],
)
def test_labels_that_teach_nothing_are_refused(
    values, classes: int, says: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = parse(write_labels(tmp_path, *values, classes=classes))
    with pytest.raises(DgssError, match=says):
        train(config, tmp_path, tmp_path / 'run', CPU)
    assert not (tmp_path / 'run').exists()
    assert main(['data', 'check', 'frames.yaml', 'frames']) == 1
    assert '1 problem\n' in capsys.readouterr().out


def test_void_beside_all_classes_is_no_problem(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_labels(tmp_path, 0, 1, 255)
    void = tmp_path / 'frames' / 'labels' / '3.png'
    cv2.imwrite(str(void), np.full((96, 96), 255, np.uint8))
    assert main(['data', 'check', 'frames.yaml', 'frames']) == 0
    out = capsys.readouterr().out
    assert 'all: other 29.2%, drivable 29.2%, void 41.7%' in out
    assert '1 of 8 frames have no labelled pixel (3)' in out


def test_a_split_without_labels_is_not_scored(tmp_path: Path) -> None:
    values = write_labels(tmp_path, 0, 1)
    void = tmp_path / 'void'
    for name in ('images', 'labels'):
        (void / name).mkdir(parents=True)
    cv2.imwrite(str(void / 'images' / '0.png'), np.zeros((96, 96, 3), np.uint8))
    cv2.imwrite(str(void / 'labels' / '0.png'), np.full((96, 96), 255, np.uint8))
    values['evaluation']['splits'] = [
        {'dataset': str(tmp_path / 'frames.yaml'), 'folder': str(void)}
    ]
    with pytest.raises(DgssError, match='has no labelled pixel, so it cannot be scored'):
        train(parse(values), tmp_path, tmp_path / 'run', CPU)


def test_a_bad_label_of_a_split_loses_no_step(tmp_path: Path) -> None:
    write_frames(tmp_path)
    values = recipe(tmp_path, steps=3)
    path = write_frames(tmp_path / 'val')
    bad = tmp_path / 'val' / 'frames' / 'labels' / '7.png'
    good = bad.read_bytes()
    cv2.imwrite(str(bad), np.full((96, 96), 77, np.uint8))
    values['evaluation']['splits'] += [
        {'dataset': str(path), 'folder': str(tmp_path / 'val' / 'frames')}
    ]
    run = tmp_path / 'run'
    with pytest.raises(DgssError, match=r'id 77.*All 3 steps are in .*state.*--resume'):
        train(parse(values), tmp_path, run, CPU)
    assert (run / 'state.safetensors').is_file()
    assert not (run / 'model.safetensors').exists()
    bad.write_bytes(good)
    train(parse(values), tmp_path, run, CPU, resume=True)
    scores = [json.loads(line) for line in (run / 'scores.jsonl').open()]
    assert [score['step'] for score in scores] == [3, 3]
    assert scores[0]['classes'] == list(LabelSet.load('cityscapes19').names)
    assert (run / 'model.safetensors').is_file()


def test_the_first_frame_of_a_split_is_read_before_the_first_step(tmp_path: Path) -> None:
    write_frames(tmp_path)
    path = write_frames(tmp_path / 'val')
    (tmp_path / 'val' / 'frames' / 'images' / '0.png').write_bytes(b'')
    values = recipe(tmp_path)
    values['evaluation']['splits'] += [
        {'dataset': str(path), 'folder': str(tmp_path / 'val' / 'frames')}
    ]
    with pytest.raises(DgssError, match=r'images/0\.png'):
        train(parse(values), tmp_path, tmp_path / 'run', CPU)
    assert not (tmp_path / 'run').exists()


def test_classes_are_compared_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = write_labels(tmp_path, 0, 1)
    run = tmp_path / 'run'
    train(parse(values), tmp_path, run, CPU)
    assert load_checkpoint(run / 'model.safetensors').label_set.names == ('other', 'drivable')
    write_set(tmp_path / 'own.yaml', ('drivable', 'other'))
    begun = {**values, 'start': str(run / 'model.safetensors')}
    train(parse(begun), tmp_path, tmp_path / 'two', CPU)
    assert 'the last layer keeps the weights of drivable, other.' in capsys.readouterr().out
    with pytest.raises(DgssError, match=r'other labels \(in this order: other, drivable; now'):
        train(parse(values), tmp_path, run, CPU, resume=True)
    write_set(tmp_path / 'own.yaml', ('other', 'drivable'))
    (tmp_path / 'frames.yaml').write_text(
        'images: images/{name}.png\nlabel_set: own.yaml\n'
        'labels: {path: "labels/{name}.png", ids: {0: drivable, 1: other}}\n'
    )
    with pytest.raises(DgssError, match='was begun with other labels; restore'):
        train(parse(values), tmp_path, run, CPU, resume=True)


@pytest.mark.parametrize(('batch', 'at_once'), [(1, None), (4, 1)])
def test_a_batch_norm_of_one_value_ends_in_a_sentence(
    batch: int, at_once: int | None, tmp_path: Path
) -> None:
    write_frames(tmp_path)
    config = parse(recipe(tmp_path, 'famix', batch=batch))
    hardware = HardwareConfig('cpu', '32-true', at_once=at_once, workers=0)
    with pytest.raises(DgssError, match=r'1 crop of 96x96.*at_once at least 2\. A larger'):
        train(config, tmp_path, tmp_path / 'run', hardware)


def test_a_warm_up_that_does_not_end_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frames(tmp_path)
    values = recipe(tmp_path, steps=2, optimiser={'schedule': {'warmup': 1000}}, evaluation={})
    train(parse(values), tmp_path, tmp_path / 'run', CPU)
    said = capsys.readouterr().out
    assert 'warm-up of 1000 steps does not end in this training of 2: ' in said
    assert 'comes to 0.1% of optimiser.rate' in said
    assert told_of_warmup(parse(values | {'steps': 1001})) == ''


def test_memory_that_ends_is_a_sentence(tmp_path: Path) -> None:
    write_frames(tmp_path)
    values = recipe(tmp_path, augmentation={'crop': [2_000_000, 2_000_000], 'color': 'none'})
    with pytest.raises(DgssError, match=r'4 crops of \w+ at once; lower hardware\.at_once'):
        train(parse(values), tmp_path, tmp_path / 'run', CPU)


def test_any_temperature_draws_a_class() -> None:
    counts = np.array([[10_000, 0, 0], [10_000, 0, 0]])
    sampler = RareClassSampler(ClassStatistics(counts), 0, temperature=0.001)
    assert sampler.probabilities.tolist() == [1, 0, 0]
    with pytest.raises(DgssError, match='temperature of 0'):
        RareClassSampler(ClassStatistics(counts), 0, temperature=0)


def test_spread_visits_everything_once() -> None:
    for count in (0, 1, 2, 7, 64, 100):
        assert sorted(spread(count)) == list(range(count))


def test_the_sentence_counts_the_crops_of_one_process(tmp_path: Path) -> None:
    config = parse(recipe(tmp_path, 'famix', batch=2))
    expected = r'1 crop of 96x96 at once in each of 2 processes.*at least 2 and batch at least 4\.'
    with pytest.raises(DgssError, match=expected), explained(config, CPU, processes=2):
        nn.BatchNorm2d(3)(torch.ones(1, 3, 1, 1))
