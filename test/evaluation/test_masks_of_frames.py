"""Masks find their frames: by stamps in any order, and by names in one source alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluated import evaluate, results
from streets import blocks, film, write_street

from dgss_core.bags import BagRecorder, read_messages, write_bag
from dgss_core.bags.interfaces import IMAGE
from dgss_core.evaluation.predictors import WINDOW


def test_a_second_run_tells_the_problems_of_masks_again(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with BagRecorder(tmp_path / 'masks') as recorder:
        for message in read_messages(bag):
            if message.topic.endswith('/labels'):
                recorder.record('/dgss/mask', message.msgtype, message.stamp_ns, message.data)
        other = bytearray(message.data)
        other[4:8] = (7).to_bytes(4, 'little')
        recorder.record('/dgss/mask', IMAGE, message.stamp_ns, bytes(other))
    found = []
    for _ in range(2):
        code, _, _ = evaluate(
            capsys, '--bag', bag, '--predictions', tmp_path / 'masks', '--label-set',
            'cityscapes19', '--output', tmp_path / 'out', '--overwrite',
        )  # fmt: skip
        assert code == 1
        found.append(results(tmp_path / 'out')['problems'])
    assert 'has the stamp of no image' in found[0][0]['what']
    assert found[0] == found[1]


def test_a_mask_is_never_taken_for_the_frames_of_two_data_sets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ('a', 'b'):
        write_street(tmp_path / name, {'day': 1}).rename(tmp_path / f'{name}.yaml')
    (tmp_path / 'masks').mkdir()
    cv2.imwrite(str(tmp_path / 'masks' / 'day_drive0_0.png'), blocks(0))
    for more in ((), ('--workers', '2')):
        code, _, err = evaluate(
            capsys, '--data', tmp_path / 'a.yaml', tmp_path / 'b.yaml', '--root', tmp_path,
            '--predictions', tmp_path / 'masks', '--output', tmp_path / 'out', *more,
        )  # fmt: skip
        assert code == 2
        assert 'evaluate them one by one' in err


def test_masks_of_a_bag_may_come_in_any_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = film(2 * WINDOW + 10)
    write_bag(tmp_path / 'drive', frames)
    masks = [m for m in read_messages(tmp_path / 'drive') if m.topic.endswith('/labels')]
    with BagRecorder(tmp_path / 'masks') as recorder:
        for number, message in enumerate(reversed(masks)):
            time_ns = masks[0].stamp_ns + number
            recorder.record('/dgss/mask', message.msgtype, time_ns, message.data)
    code, _, err = evaluate(
        capsys, '--bag', tmp_path / 'drive', '--predictions', tmp_path / 'masks', '--label-set',
        'cityscapes19', '--output', tmp_path / 'out', '--resamples', '2',
    )  # fmt: skip
    assert code == 0, err
    score = results(tmp_path / 'out')['conditions']['all']
    assert (score['frames'], score['miou']) == (len(frames), 1)


def test_a_mask_that_lies_on_its_side_is_refused_and_one_of_a_square_network_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, masks = write_street(tmp_path, {'day': 2}), tmp_path / 'masks'
    masks.mkdir()
    cv2.imwrite(str(masks / 'day_drive0_0.png'), np.ascontiguousarray(blocks(0).T))
    square = cv2.resize(blocks(1), (48, 48), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(masks / 'day_drive1_1.png'), square)
    code, _, err = evaluate(
        capsys, '--data', data, '--root', tmp_path, '--predictions', masks,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 1
    assert 'The mask is 48x64 and its image 64x48' in err
    assert results(tmp_path / 'out')['conditions']['all']['frames'] == 1
