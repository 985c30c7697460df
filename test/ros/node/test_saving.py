"""Saved frames: none is replaced, all files of one or none, and a limit."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera import Camera, flat
from rclpy.node import Node
from services import ask
from std_msgs.msg import Header

from dgss_core.errors import DgssError
from dgss_ros.node import saving
from dgss_ros.node.saving import write_frame

pytestmark = pytest.mark.ros
CONTENTS = {'_image.png': b'image', '_mask.png': b'mask', '.json': b'{}'}


def test_a_camera_that_does_not_stamp_replaces_no_frame(
    start_node,
    ros: Node,
    probe_bundle: Path,
    camera: Camera,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, number = tmp_path / 'saved', count()
    monkeypatch.setattr(camera, 'header', lambda: Header(frame_id=f'{next(number)}'))
    start_node(bundle=probe_bundle, save_folder=folder, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    listed: list[str] = []
    for value in (50, 50, 200):
        camera.answer(flat(value))
        response = ask(ros, 'save_frame')
        assert response.success, response.message
        listed += response.message.splitlines()
    assert len(set(listed)) == len(listed) == len(os.listdir(folder)) == 12
    values = [np.unique(cv2.imread(path)[..., 2]).tolist() for path in listed if '_image' in path]
    assert values == [[50], [50], [200]]


def test_a_stem_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    for name in ('a', 'a_2', 'a_3'):
        paths = write_frame(tmp_path, 'a', CONTENTS)
        assert [path.name for path in paths] == [f'{name}{suffix}' for suffix in CONTENTS]
    (tmp_path / 'a_4.json').touch()  # of an incomplete frame
    assert write_frame(tmp_path, 'a', CONTENTS)[0].name == 'a_5_image.png'


def test_two_processes_do_not_share_a_stem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one writes its second file between our check and our second file."""
    write = saving.write_new

    def overtaken(path: Path, data: bytes) -> None:
        if path.name == 'a_mask.png':
            path.write_bytes(b'theirs')
        write(path, data)

    monkeypatch.setattr(saving, 'write_new', overtaken)
    assert write_frame(tmp_path, 'a', CONTENTS)[0].name == 'a_2_image.png'
    names = ['a_mask.png', *(f'a_2{suffix}' for suffix in CONTENTS)]
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert (tmp_path / 'a_mask.png').read_bytes() == b'theirs'


def test_a_failed_write_leaves_no_part_of_a_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = saving.write_new

    def full(path: Path, data: bytes) -> None:
        if path.suffix == '.json':
            raise OSError(28, 'No space left on device')
        write(path, data)

    monkeypatch.setattr(saving, 'write_new', full)
    with pytest.raises(DgssError, match='No space left'):
        write_frame(tmp_path, 'a', CONTENTS)
    assert os.listdir(tmp_path) == []


def test_a_caller_cannot_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, 'MOST_FRAMES', 3)
    for _ in range(3):
        write_frame(tmp_path, 'a', CONTENTS)
    with pytest.raises(DgssError, match='holds 3 saved frames, and 3 is the limit'):
        write_frame(tmp_path, 'a', CONTENTS)
    assert len(os.listdir(tmp_path)) == 9
    monkeypatch.setattr(saving, 'FREE_BYTES', 1 << 60)
    with pytest.raises(DgssError, match='MiB left; free space'):
        write_frame(tmp_path / 'other', 'a', CONTENTS)
