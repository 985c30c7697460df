"""`dgss evaluate --predictions`: masks that anyone made, in a folder or a bag."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluated import evaluate, results
from streets import blocks, film, picture, write_street

from dgss_core.bags import BagRecorder, read_messages, write_bag
from dgss_core.bags.interfaces import STRING, typestore
from dgss_core.evaluation.live import ARRAY, Coverage, live_results, pack
from dgss_core.images.frames import Frame

STREET = {'day': 4, 'night': 2}


def test_masks_of_a_folder_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, masks = write_street(tmp_path, STREET), tmp_path / 'masks'
    masks.mkdir()
    for number, (condition, count) in enumerate(STREET.items()):
        for index in range(count):
            name = f'{condition}_drive{index % 2}_{index}'
            if name == 'day_drive1_3':
                continue
            cv2.imwrite(str(masks / f'{name}.png'), blocks(100 * number + index))
            sure = np.full((48, 64), 65535 // 2, np.uint16)
            cv2.imwrite(str(masks / f'{name}_confidence.png'), sure)
    code, _, err = evaluate(
        capsys, '--data', data, '--root', tmp_path, '--predictions', masks,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    found = results(tmp_path / 'out')
    assert code == 1
    assert 'has no mask' in err
    assert found['problems'][0]['frames'] == ['day_drive1_3']
    assert found['conditions']['all']['miou'] == 1
    assert found['frames'][0]['confidence'] == pytest.approx(0.5, abs=0.01)


def test_ood_labels_are_told_apart_by_the_confidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, masks, ood = write_street(tmp_path, {'day': 3}), tmp_path / 'masks', tmp_path / 'ood'
    masks.mkdir()
    ood.mkdir()
    unusual = np.zeros((48, 64), np.uint8)
    unusual[:12] = 1
    unusual[-12:] = 255
    sure = np.where(unusual == 1, 40, 200).astype(np.uint8)
    sure[12:18] = 40  # As unsure as what is unusual.
    for index in range(3):
        name = f'day_drive{index % 2}_{index}'
        cv2.imwrite(str(masks / f'{name}.png'), blocks(index))
        cv2.imwrite(str(masks / f'{name}_confidence.png'), sure)
        if index:
            cv2.imwrite(str(ood / f'{name}.png'), unusual)
    cv2.imwrite(str(ood / 'other.png'), unusual)
    code, _, _ = evaluate(
        capsys, '--data', data, '--root', tmp_path, '--predictions', masks, '--ood', ood,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    found = results(tmp_path / 'out')
    score = found['conditions']['all']
    assert score['ood']['pixels'] == 2 * 36 * 64
    # Of 24 known rows 6 tie with the 12 unknown ones.
    assert score['ood']['auroc'] == pytest.approx(1 - 6 / 24 / 2)
    assert score['ood']['auprc'] == pytest.approx(12 / 18)
    assert score['labelled_pixels'] == (3 * 48 - 2 * 12) * 64, 'an unusual pixel has no class'
    assert code == 1
    assert found['problems'][0]['frames'] == ['other']


def masks_bag(path: Path, frames: list[Frame]) -> Path:
    """Masks as `bag replay` records them."""
    as_images = [
        Frame(f.name, picture(f.labels), f.stamp_ns, f.labels)
        for f in frames
        if f.labels is not None
    ]
    drive = path.with_name('made')
    write_bag(drive, as_images)
    with BagRecorder(path) as recorder:
        for message in read_messages(drive, {'/camera/labels'}):
            for topic in ('/dgss/mask', '/dgss/confidence'):
                recorder.record(topic, message.msgtype, message.stamp_ns, message.data)
    return path


def with_replay(masks: Path, path: Path, text: str) -> Path:
    """A copy of recorded masks with the times of their replay."""
    with BagRecorder(path) as recorder:
        for message in read_messages(masks):
            recorder.record(message.topic, message.msgtype, message.stamp_ns, message.data)
        data = typestore().serialize_cdr(typestore().types[STRING](data=text), STRING)
        recorder.record('/dgss/replay', STRING, message.stamp_ns, data)
    return path


def test_masks_of_a_bag_find_their_images_by_stamps(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = masks_bag(tmp_path / 'masks', film(7))
    code, _, _ = evaluate(
        capsys, '--bag', bag, '--predictions', masks, '--label-set', 'cityscapes19',
        '--output', tmp_path / 'out',
    )  # fmt: skip
    found = results(tmp_path / 'out')
    assert code == 1
    assert found['problems'][0]['frames'] == ['000007']
    assert found['conditions']['all'] == found['conditions']['all'] | {'frames': 7, 'miou': 1.0}


def test_masks_of_images_with_one_stamp_find_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A replay sends the second image a nanosecond later, and its mask has that stamp."""
    frames = film(3)
    write_bag(tmp_path / 'drive', [frames[0], replace(frames[1], stamp_ns=frames[0].stamp_ns)])
    sent = [frames[0], replace(frames[1], stamp_ns=frames[0].stamp_ns + 1)]
    masks = masks_bag(tmp_path / 'masks', sent)
    evaluate(
        capsys, '--bag', tmp_path / 'drive', '--predictions', masks,
        '--label-set', 'cityscapes19', '--output', tmp_path / 'out',
    )  # fmt: skip
    found = results(tmp_path / 'out')
    assert found['conditions']['all'] == found['conditions']['all'] | {'frames': 2, 'miou': 1.0}
    assert not any('no mask' in problem['what'] for problem in found['problems'])


def test_a_recorded_replay_tells_latency_and_drops(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamps = [frame.stamp_ns for frame in film(8)]
    received = {stamp: i + 0.01 * (i + 1) for i, stamp in enumerate(stamps[:6])}
    text = pack({stamp: float(i) for i, stamp in enumerate(stamps)}, received)
    with_replay(masks_bag(tmp_path / 'made_masks', film(6)), tmp_path / 'masks', text)
    criteria = tmp_path / 'criteria.yaml'
    criteria.write_text('drop_rate: "<= 0.2"\nlatency_p99_ms: "<= 60.5"\n')
    code, out, _ = evaluate(
        capsys, '--bag', bag, '--predictions', tmp_path / 'masks', '--label-set', 'cityscapes19',
        '--output', tmp_path / 'out', '--criteria', criteria,
    )  # fmt: skip
    live = results(tmp_path / 'out')['live']
    assert code == 1
    assert (live['sent'], live['received'], live['drop_rate']) == (8, 6, 0.25)
    assert live['latency_ms']['p50'] == pytest.approx(35)
    assert live['rate_hz'] == pytest.approx(1 / 1.01)
    assert live['latencies_ms'] == [10, 20, 30, 40, 50, 60]
    assert 'fail: drop_rate <= 0.2' in out
    assert 'pass: latency_p99_ms' in out


def test_the_usage_is_that_of_the_node_that_sent_the_masks(tmp_path: Path) -> None:
    with BagRecorder(tmp_path / 'masks') as recorder:
        text = pack({1: 0.0}, {1: 0.1})
        data = typestore().serialize_cdr(typestore().types[STRING](data=text), STRING)
        recorder.record('/veh/dgss/front/replay', STRING, 1, data)
        for node, cpu, age in (('veh/dgss', 50, 40.0), ('lidar_net', 9999, 7.0)):
            values = {'cpu_percent': cpu}
            frames = {f'age_ms_p{p}': age + p for p in (50, 95, 99)}
            array = diagnostics(
                {f'{node}: model': values, f'{node}: front frames': frames, 'other': values}
            )
            recorder.record('/diagnostics', ARRAY, 2, array)
    live = live_results(tmp_path / 'masks', '/veh/dgss/front/mask')
    assert live is not None
    assert live['cpu_percent'] == 50
    assert live['age_ms'] == {'p50': 90, 'p95': 135, 'p99': 139}
    assert live['memory_mib'] is None


def diagnostics(statuses: dict[str, dict[str, object]]) -> memoryview:
    types = typestore().types
    stamp = types['builtin_interfaces/msg/Time'](sec=0, nanosec=0)
    header = types['std_msgs/msg/Header'](stamp=stamp, frame_id='')
    entry, status = (types[f'diagnostic_msgs/msg/{n}'] for n in ('KeyValue', 'DiagnosticStatus'))
    made = [
        status(
            level=0,
            name=name,
            message='',
            hardware_id='',
            values=[entry(key=key, value=str(value)) for key, value in values.items()],
        )
        for name, values in statuses.items()
    ]
    return typestore().serialize_cdr(types[ARRAY](header=header, status=made), ARRAY)


@pytest.mark.parametrize('where', ['labels', 'masks'])
def test_ids_outside_the_label_set_are_a_problem(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = film(3)
    wrong = replace(frames[1], labels=np.full_like(frames[1].labels, 200))
    drives = {
        name: [frames[0], wrong if name == where else frames[1], frames[2]]
        for name in ('labels', 'masks')
    }
    write_bag(tmp_path / 'drive', drives['labels'])
    masks = masks_bag(tmp_path / 'masks', drives['masks'])
    code, _, _ = evaluate(
        capsys, '--bag', tmp_path / 'drive', '--predictions', masks, '--label-set',
        'cityscapes19', '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 1
    (problem,) = results(tmp_path / 'out')['problems']
    assert problem['frames'] == ['000001']
    assert f'The {where} hold the id 200, which is no class of label set' in problem['what']


@pytest.mark.parametrize('is_cut', [False, True])
def test_masks_of_a_region_are_scored_where_it_lies(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], is_cut: bool
) -> None:
    frames, roi = film(8), (16, 8, 40, 24)
    x, y, width, height = roi
    made = []
    for frame in frames:
        assert frame.labels is not None
        part = frame.labels[y : y + height, x : x + width]
        whole = np.full_like(frame.labels, 255)
        whole[y : y + height, x : x + width] = part
        made.append(replace(frame, labels=part if is_cut else whole))
    text = pack({}, {}, coverage=Coverage(roi, is_cut))
    masks = with_replay(masks_bag(tmp_path / 'made_masks', made), tmp_path / 'masks', text)
    code, _, _ = evaluate(
        capsys, '--bag', bag, '--predictions', masks, '--label-set', 'cityscapes19',
        '--output', tmp_path / 'out',
    )  # fmt: skip
    found = results(tmp_path / 'out')['conditions']['all']
    assert code == 0
    assert found['miou'] == 1
    assert found['labelled_pixels'] == 8 * width * height
    certainty = [frame['confidence'] for frame in results(tmp_path / 'out')['frames']]
    assert max(certainty) < 16 / 255, 'masks serve as confidences; outside they are 255'


@pytest.mark.parametrize(
    'coverage', ['7', '{"roi": [1, 2]}', '{"roi": [0, 0, 0, 4]}', '{"roi": "abcd"}']
)
def test_a_damaged_coverage_is_told(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], coverage: str
) -> None:
    text = pack({}, {})[:-1] + f', "coverage": {coverage}' + '}'
    masks = with_replay(masks_bag(tmp_path / 'made_masks', film(8)), tmp_path / 'masks', text)
    code, _, err = evaluate(
        capsys, '--bag', bag, '--predictions', masks, '--label-set', 'cityscapes19',
        '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 2
    assert 'record the replay again' in err


def test_labels_without_a_class_are_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = film(2)
    void = [replace(frame, labels=np.full_like(frame.labels, 255)) for frame in frames]
    write_bag(tmp_path / 'drive', void)
    masks = masks_bag(tmp_path / 'masks', frames)
    code, _, err = evaluate(
        capsys, '--bag', tmp_path / 'drive', '--predictions', masks, '--label-set',
        'cityscapes19', '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 1
    assert 'No pixel of the labels has a class of cityscapes19' in err


def test_masks_that_are_links_without_a_target_are_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, masks = write_street(tmp_path, {'day': 4}), tmp_path / 'masks'
    masks.mkdir()
    names = [f'day_drive{index % 2}_{index}' for index in range(4)]
    for index in (0, 1):
        cv2.imwrite(str(masks / f'{names[index]}.png'), blocks(index))
    for name in (f'{names[1]}_confidence', names[2], 'other'):
        (masks / f'{name}.png').symlink_to(f'/gone/{name}.png')
    code, _, err = evaluate(
        capsys, '--data', data, '--root', tmp_path, '--predictions', masks,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 1
    problems = {tuple(p['frames']): p['what'] for p in results(tmp_path / 'out')['problems']}
    assert {*problems} == {(name,) for name in names[1:]}
    for name, link in ((names[1], f'{names[1]}_confidence'), (names[2], names[2])):
        assert problems[name,].startswith(f"{masks / link}.png is a link to '/gone/{link}.png'")
        assert problems[name,] in err
    assert 'has no mask' in problems[names[3],]
