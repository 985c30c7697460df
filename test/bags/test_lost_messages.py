"""Frames behind messages that are lost keep the names they have in the whole bag."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign_bags import image, images, mcap, sqlite, stamps

from dgss_core.evaluation.bag_frames import BagFrames, BagOptions
from dgss_core.images.compressed import encode_png
from dgss_core.inputs import read_frames
from dgss_core.labels import LabelSet

COUNT, SIDE = 9, 40
LOST = (3, 4, 5)


def checksum(path: Path) -> Path:
    """A chunk of three messages is damaged."""
    sent = images(COUNT, SIDE)
    mcap(path, sent, chunk_size=4000)
    data = bytearray(path.read_bytes())
    data[data.index(sent[4][1]) + 200] ^= 1
    path.write_bytes(data)
    return path


def length(path: Path) -> Path:
    """The length of such a chunk is damaged, so that its start alone is known."""
    sent = images(COUNT, SIDE)
    mcap(path, sent, chunk_size=4000)
    data = bytearray(path.read_bytes())
    at = data.index(b''.join(sent[place][0].to_bytes(8, 'little') for place in (3, 5))) - 8
    data[at : at + 8] = (1 << 60).to_bytes(8, 'little')
    path.write_bytes(data)
    return path


def rows(path: Path) -> Path:
    """Three rows hold no message."""
    path = path.with_suffix('.db3')
    with sqlite(path, images(COUNT, SIDE)) as file:
        file.execute('UPDATE messages SET data = 12 WHERE id BETWEEN 4 AND 6')
    file.close()
    return path


@pytest.mark.parametrize('damaged', [checksum, length, rows])
def test_frames_keep_their_names(damaged, tmp_path: Path) -> None:
    path = damaged(tmp_path / 'a.mcap')
    told: list[Exception] = []
    frames = list(read_frames(path, on_error=lambda _, error: told.append(error)))
    there = [number for number in range(COUNT) if number not in LOST]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == there
    assert [int(frame.name) for frame in frames] == there
    assert [frame.stamp_ns for frame in frames] == [stamps(COUNT)[place] for place in there]
    assert [error.missing for error in told] == [3]


@pytest.mark.parametrize('damaged', [checksum, length, rows])
def test_labels_by_number_find_their_images(damaged, tmp_path: Path) -> None:
    path = damaged(tmp_path / 'a.mcap')
    (tmp_path / 'labels').mkdir()
    for number in range(COUNT):
        data = encode_png(np.full((SIDE, SIDE), number, np.uint8))
        (tmp_path / f'labels/{number:06d}.png').write_bytes(data)
    options = BagOptions(labels=str(tmp_path / 'labels'))
    frames = BagFrames(path, LabelSet.load('cityscapes19'), options)
    places = range(COUNT - len(LOST))
    pictures = dict(frames.images(places))
    labels = {place: read() for place, read in frames.labels(places)}
    assert pictures.keys() == labels.keys() == {*places}
    for place in places:
        assert pictures[place][0, 0, 0] == labels[place][0, 0]
    assert frames.keys[-1].name == f'{COUNT - 1:06d}'


def test_a_whole_bag_loses_nothing(tmp_path: Path) -> None:
    frames = read_frames(mcap(tmp_path / 'a.mcap', [(1, image(0, 1))], chunk_size=100))
    assert [frame.name for frame in frames] == ['000000']
