"""Masks that bring their label set, as a replay through the node records them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dgss_core.bags import BagRecorder, read_messages, write_bag
from dgss_core.bags.interfaces import STRING, typestore
from dgss_core.cli import main
from dgss_core.evaluation.bag_frames import BagFrames
from dgss_core.images.frames import Frame
from dgss_core.labels import LabelSet


def record(tmp_path: Path, labels: str | None) -> list[str]:
    """A bag with labels, and its labels as masks; returns the arguments that score these."""
    plane = np.full((24, 32), 3, np.uint8)
    image = np.zeros((24, 32, 3), np.uint8)
    frames = [Frame(f'{i}', image, (i + 1) * 10**9, labels=plane) for i in range(3)]
    write_bag(tmp_path / 'drive', frames)
    with BagRecorder(tmp_path / 'masks') as recorder:
        for message in read_messages(tmp_path / 'drive', {'/camera/labels'}):
            recorder.record('/dgss/mask', message.msgtype, message.stamp_ns, message.data)
        if labels is not None:
            store = typestore()
            text = store.types[STRING](data=labels)
            recorder.record('/dgss/labels', STRING, 10**9, store.serialize_cdr(text, STRING))
    paths = [str(tmp_path / name) for name in ('drive', 'masks', 'out')]
    return ['evaluate', '--bag', paths[0], '--predictions', paths[1], '--output', paths[2]]


def test_masks_are_scored_in_the_label_set_that_is_recorded_with_them(tmp_path: Path) -> None:
    arguments = record(tmp_path, json.dumps(LabelSet.load('camvid11').to_dict()))
    assert main([*arguments, '--resamples', '2']) == 0
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert results['predictor']['merge'] == 'camvid11 to camvid11'


def test_labels_that_are_recorded_in_another_order_come_in_that_of_their_images(
    tmp_path: Path,
) -> None:
    frames = [
        Frame(
            f'{i}', np.zeros((4, 6, 3), np.uint8), (i + 1) * 10**9, labels=np.full((4, 6), i, 'u1')
        )
        for i in range(6)
    ]
    write_bag(tmp_path / 'in_order', frames)
    messages = list(read_messages(tmp_path / 'in_order', None))
    images, labels = (
        [m for m in messages if m.topic == f'/camera/{n}'] for n in ('image_raw', 'labels')
    )
    with BagRecorder(tmp_path / 'mixed') as recorder:
        for now, message in enumerate([*images, *(labels[i] for i in (3, 1, 0, 5, 2, 4))]):
            recorder.record(message.topic, message.msgtype, now + 1, message.data)
    opened = BagFrames(tmp_path / 'mixed', LabelSet.load('cityscapes19'))
    read = [(place, int(reader().max())) for place, reader in opened.labels([0, 2, 3, 5])]
    assert read == [(0, 0), (2, 2), (3, 3), (5, 5)]


@pytest.mark.parametrize(
    ('labels', 'reason'),
    [(None, 'give their --label-set'), ('{"name": 1}', '/dgss/labels of')],
)
def test_masks_without_a_label_set_need_one(
    labels: str | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(record(tmp_path, labels)) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert len(error.splitlines()) == 1
