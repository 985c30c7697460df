"""`dgss evaluate --checkpoint`: the scores are those of the model, asked frame by frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import parse, recipe, write_frames

from dgss_core.cli import main
from dgss_core.confusion import ConfusionMatrix
from dgss_core.datasets import build_dataset
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.inference import Inference
from dgss_core.training.build import build_model, save_model
from dgss_core.training.evaluation import ModelSegmenter


def test_a_checkpoint_is_scored_as_the_model_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_frames(tmp_path, count=3)
    config = parse(recipe(tmp_path, 'dgss'))
    torch.manual_seed(0)
    path = tmp_path / 'model.safetensors'
    save_model(config, build_model(config), [path])
    output = tmp_path / 'out'
    arguments = ['--checkpoint', path, '--data', data, '--root', tmp_path, '--output', output]
    assert main(['evaluate', *map(str, arguments)]) == 0, capsys.readouterr().err

    segmenter = ModelSegmenter(load_checkpoint(path).eval(), Inference())
    dataset = build_dataset(data, tmp_path / 'frames')
    matrix = ConfusionMatrix(dataset.label_set)
    for index in range(len(dataset)):
        sample = dataset[index]
        matrix.add(segmenter(sample.image).mask, sample.labels)
    results = json.loads((output / 'results.json').read_text())
    assert results['conditions']['all']['miou'] == pytest.approx(matrix.miou)
    assert results['predictor']['kind'] == 'checkpoint'
    with np.load(output / 'counts.npz') as counts:
        np.testing.assert_array_equal(counts['confusion'].sum(0), matrix.counts)


def test_a_frame_that_the_memory_does_not_hold_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_frames(tmp_path, count=3)
    config = parse(recipe(tmp_path, 'dgss'))
    path = tmp_path / 'model.safetensors'
    save_model(config, build_model(config), [path])
    monkeypatch.setattr(ModelSegmenter, '__call__', lambda *_: torch.empty(2**60))
    output = tmp_path / 'out'
    arguments = ['--checkpoint', path, '--data', data, '--root', tmp_path, '--output', output]
    assert main(['evaluate', *map(str, arguments)]) != 0
    said = capsys.readouterr().err
    assert 'The memory does not hold model.safetensors ' in said
    assert 'choose a --protocol with windows' in said
    assert 'Traceback' not in said
