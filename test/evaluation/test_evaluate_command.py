"""`dgss evaluate` from the command line to results.json, against scores that are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from streets import blocks, film, picture, write_street

from dgss_core.bags import BagRecorder, read_messages, write_bag
from dgss_core.bags.interfaces import STRING, typestore
from dgss_core.cli import main
from dgss_core.evaluation.live import pack
from dgss_core.images.frames import FIRST_STAMP_NS, Frame
from dgss_core.runtime.bundle import Bundle

STREET = {'day': 4, 'night': 2}


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(['evaluate', '--backend', 'onnxruntime', *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / 'results.json').read_text())


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    frames = [*film(4, 'day'), *(replace(f, condition='night') for f in film(8)[4:])]
    write_bag(tmp_path / 'drive', frames)
    return tmp_path / 'drive'


def test_the_scores_of_a_dataset_are_those_of_its_pixels(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    data, output = write_street(tmp_path, STREET, wrong_rows=12), tmp_path / 'out'
    code, out, err = evaluate(
        capsys, '--data', data, '--root', tmp_path, '--bundle', probe_bundle.folder,
        '--output', output, '--resamples', 50,
    )  # fmt: skip
    assert (code, err.count('Traceback')) == (0, 0)
    found = results(output)
    assert [*found['conditions']] == ['all', 'day', 'night']
    for condition, seeds in (('day', range(4)), ('night', range(100, 102))):
        scores = found['conditions'][condition]
        # A quarter of the rows is wrong: brute force over the classes.
        right = np.stack([blocks(seed) for seed in seeds])
        labels = right.copy()
        labels[:, :12] = (labels[:, :12] + 1) % 16
        ious = [
            ((right == c) & (labels == c)).sum() / ((right == c) | (labels == c)).sum()
            for c in range(16)
        ]
        assert scores['miou'] == pytest.approx(np.mean(ious), abs=1e-9)
        assert scores['accuracy'] == pytest.approx(0.75)
        assert scores['ece'] == pytest.approx(abs(200 / 255 - 0.75), abs=1e-6)
        assert (scores['frames'], scores['labelled_pixels']) == (len(seeds), right.size)
        low, high = scores['intervals']['miou']
        assert low <= scores['miou'] <= high
    assert found['conditions']['all']['intervals']['unit'] == 'drive'
    assert {frame['drive'] for frame in found['frames']} == {'drive0', 'drive1'}
    assert all(frame['accuracy'] == 0.75 for frame in found['frames'])
    page = (output / 'report.html').read_text()
    assert page.count('data:image/jpeg') == 6  # every frame is among the worst or the typical
    assert 'night_drive1_1' in page
    assert 'night' in out
    assert str(output / 'report.html') in out


def test_a_frame_of_a_dataset_without_labels_is_told(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_street(tmp_path, STREET)
    (tmp_path / 'street' / 'day' / 'labels' / 'drive1_3.png').unlink()
    code, _, err = evaluate(
        capsys, '--data', data, '--root', tmp_path, '--bundle', probe_bundle.folder,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 1
    assert 'no labels and is not scored. (1: day_drive1_3)' in err
    assert results(tmp_path / 'out')['conditions']['all']['frames'] == 5


def test_the_counts_beside_the_results_are_those_of_the_frames(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    data, output = write_street(tmp_path, STREET, wrong_rows=12), tmp_path / 'out'
    evaluate(
        capsys, '--data', data, '--root', tmp_path, '--bundle', probe_bundle.folder,
        '--output', output,
    )  # fmt: skip
    with np.load(output / 'counts.npz', allow_pickle=False) as counts:
        assert counts['confusion'].shape == (6, 19, 20)
        assert counts['confusion'].sum() == 6 * 48 * 64
        hits = np.trace(counts['confusion'], axis1=1, axis2=2)
    assert [frame['accuracy'] for frame in results(output)['frames']] == [*(hits / (48 * 64))]


def test_a_bag_is_scored_by_its_own_labels_and_conditions(
    bag: Path, tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = evaluate(
        capsys, '--bag', bag, '--bundle', probe_bundle.folder, '--output', tmp_path / 'out'
    )
    assert code == 0, err
    found = results(tmp_path / 'out')
    assert {name: s['frames'] for name, s in found['conditions'].items()} == {
        'all': 8, 'day': 4, 'night': 4
    }  # fmt: skip
    assert found['conditions']['all']['miou'] == 1
    assert found['frames'][0]['stamp_ns'] == FIRST_STAMP_NS


def test_images_without_labels_are_counted_and_named(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = film(5)
    frames[2] = replace(frames[2], labels=None)
    write_bag(tmp_path / 'drive', frames)
    code, _, err = evaluate(
        capsys, '--bag', tmp_path / 'drive', '--bundle', probe_bundle.folder,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    found = results(tmp_path / 'out')
    assert code == 1
    assert 'no labels' in err
    assert [(p['count'], p['frames']) for p in found['problems']] == [(1, ['000002'])]
    assert found['sources'][0] == found['sources'][0] | {
        'frames': 5, 'predicted': 5, 'labelled': 4
    }  # fmt: skip
    assert found['conditions']['all']['frames'] == 4


def shift_labels(bag: Path, target: Path, by_ns: int) -> Path:
    """A copy of a bag whose labels are stamped later."""
    with BagRecorder(target) as recorder:
        for message in read_messages(bag):
            data = bytearray(message.data)
            if message.topic.endswith('/labels'):
                nanoseconds = int.from_bytes(data[8:12], 'little') + by_ns
                data[8:12] = nanoseconds.to_bytes(4, 'little')
            recorder.record(message.topic, message.msgtype, message.stamp_ns, bytes(data))
    return target


def test_near_stamps_pair_only_within_the_tolerance(
    bag: Path, tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    late = shift_labels(bag, tmp_path / 'late', 3_000_000)
    given = ('--bag', late, '--bundle', probe_bundle.folder, '--output', tmp_path / 'out')
    assert evaluate(capsys, *given)[0] == 1
    assert results(tmp_path / 'out')['conditions']['all']['miou'] is None
    code, _, err = evaluate(capsys, *given, '--tolerance', 5, '--overwrite')
    found = results(tmp_path / 'out')
    assert (code, found['conditions']['all']['miou']) == (0, 1)
    assert found['problems'][0]['is_note']
    assert 'within 5 ms' in err


@pytest.mark.parametrize('by', ['nanoseconds', 'seconds', 'number'])
def test_labels_of_a_bag_may_lie_in_a_folder(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    frames = film(3)
    write_bag(tmp_path / 'drive', frames, labels=False)
    (tmp_path / 'labels').mkdir()
    for number, frame in enumerate(frames):
        seconds, rest = divmod(frame.stamp_ns, 10**9)
        name = {
            'nanoseconds': str(frame.stamp_ns),
            'seconds': f'{seconds}_{rest:09d}',
            'number': f'{number:06d}',
        }[by]
        cv2.imwrite(str(tmp_path / 'labels' / f'{name}.png'), frame.labels)
    code, _, err = evaluate(
        capsys, '--bag', tmp_path / 'drive', '--labels', tmp_path / 'labels',
        '--bundle', probe_bundle.folder, '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 0, err
    assert results(tmp_path / 'out')['conditions']['all']['miou'] == 1


def test_time_ranges_name_conditions_and_leave_out_what_is_ignored(
    bag: Path, tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    ranges = tmp_path / 'conditions.yaml'
    ranges.write_text('rain: [[0, 0.25]]\nsnow: [[0.25, 0.5]]\nignore: [[0.5, 100]]\n')
    code, _, err = evaluate(
        capsys, '--bag', bag, '--conditions', ranges, '--bundle', probe_bundle.folder,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 0, err
    found = results(tmp_path / 'out')
    assert {name: s['frames'] for name, s in found['conditions'].items()} == {
        'all': 5, 'rain': 3, 'snow': 2
    }  # fmt: skip
    assert found['settings']['ignored'] == [[0.5, 100.0]]


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


def test_a_second_run_scores_the_same_predictions(
    bag: Path, tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ('--bag', bag, '--bundle', probe_bundle.folder, '--output', tmp_path / 'out')
    assert evaluate(capsys, *given)[0] == 0
    first = results(tmp_path / 'out')
    code, _, err = evaluate(capsys, *given)
    assert code == 2
    assert '--overwrite' in err
    assert evaluate(capsys, *given, '--overwrite', '--band', 3)[0] == 0
    again = results(tmp_path / 'out')
    assert len([*(tmp_path / 'out' / 'predictions').iterdir()]) == 1
    # The network did not run again: its times are those of the first run.
    times = [[f['milliseconds'] for f in one['frames']] for one in (first, again)]
    assert times[0] == times[1]
    assert again['conditions']['all']['boundary_band'] == 3


MISTAKES = {
    'nothing to score on': ((), 'Give what to score on'),
    'two models': (('--data', 'synthetic', '--bundle', 'a', '--checkpoint', 'b'), 'Give one of'),
    'an unknown dataset': (('--data', 'acdcc:val'), 'acdcc'),
    'too many parts': (('--data', 'acdc:val:night:x'), 'DATASET:SPLIT:CONDITION'),
    'no bag': (('--bag', 'nowhere'), 'nowhere'),
    'a band of nothing': (('--data', 'synthetic', '--band', '0'), '--band is 0'),
    'no masks': (('--data', 'synthetic', '--predictions', 'nowhere'), 'no masks'),
    'windows of a bundle': (('--data', 'synthetic', '--protocol', 'rein'), 'needs --checkpoint'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake: str
) -> None:
    given, said = MISTAKES[mistake]
    code, out, err = evaluate(capsys, *given, '--output', tmp_path / 'out')
    assert (code, out) == (2, '')
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / 'out').exists()


def test_a_folder_of_other_things_stays_as_it_is(
    bag: Path, tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / 'mine'
    output.mkdir()
    (output / 'results.json').write_text('{"mine": 1}')
    for more in ((), ('--overwrite',)):
        code, _, err = evaluate(
            capsys, '--bag', bag, '--bundle', probe_bundle.folder, '--output', output, *more
        )
        assert code == 2
        assert 'another folder' in err
    assert [path.name for path in output.iterdir()] == ['results.json']
    code, _, err = evaluate(
        capsys, '--bag', bag, '--bundle', probe_bundle.folder, '--output', bag, '--overwrite'
    )
    assert code == 2
    assert 'must stay' in err


def test_criteria_decide_the_exit_code(
    bag: Path, tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    criteria, output = tmp_path / 'criteria.yaml', tmp_path / 'out'
    given = ('--bag', bag, '--bundle', probe_bundle.folder, '--output', output)
    given = (*given, '--criteria', criteria, '--overwrite')
    criteria.write_text('mIoU: {night: ">= 0.9", all: ">= 0.9"}\n')
    code, out, _ = evaluate(capsys, *given)
    assert (code, out.count('pass: mIoU')) == (0, 2)
    criteria.write_text('mIoU: {night: "< 0.9"}\nlatency_p99_ms: "<= 50"\n')
    code, out, _ = evaluate(capsys, *given)
    assert code == 1
    assert 'fail: mIoU night < 0.9' in out
    assert 'not measured: latency_p99_ms' in out
    verdicts = results(output)['verdicts']
    assert [verdict['outcome'] for verdict in verdicts] == ['fail', 'not measured']
    suite = ElementTree.parse(output / 'criteria.xml').getroot()[0]
    assert (suite.get('tests'), suite.get('failures')) == ('2', '2')
    assert [json.loads(line) for line in (output / 'criteria.jsonl').open()] == verdicts
    criteria.write_text('mIoU: {night: 3}\n')
    assert evaluate(capsys, *given)[0] == 2
    assert results(output)['verdicts'] == verdicts


def test_two_bundles_are_scored_under_corruptions(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = tmp_path / 'drive'
    write_bag(bag, film(2))
    code, _, err = evaluate(
        capsys, '--bag', bag, '--bundle', probe_bundle.folder, '--against', probe_bundle.folder,
        '--output', tmp_path / 'out', '--corruptions', 2,
    )  # fmt: skip
    assert code == 0, err
    found = results(tmp_path / 'out')
    suite = found['corruptions']
    assert len(suite['scores']) == 20
    assert suite['clean'] == found['conditions']['all']['miou'] == 1
    assert 0 < suite['mean'] < 1
    assert found['against']['corruptions'] == suite
    assert found['conditions']['all']['agreement'] == 1


def test_a_recorded_replay_tells_latency_and_drops(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamps = [frame.stamp_ns for frame in film(8)]
    received = {stamp: i + 0.01 * (i + 1) for i, stamp in enumerate(stamps[:6])}
    text = pack({stamp: float(i) for i, stamp in enumerate(stamps)}, received)
    masks = masks_bag(tmp_path / 'made_masks', film(6))
    with BagRecorder(tmp_path / 'masks') as recorder:
        for message in read_messages(masks):
            recorder.record(message.topic, message.msgtype, message.stamp_ns, message.data)
        data = typestore().serialize_cdr(typestore().types[STRING](data=text), STRING)
        recorder.record('/dgss/replay', STRING, stamps[-1], data)
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


def test_a_bag_that_is_cut_off_is_scored_and_told(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(tmp_path / 'drive', film(40))
    whole = next((tmp_path / 'drive').glob('*.mcap')).read_bytes()
    (tmp_path / 'cut.mcap').write_bytes(whole[: len(whole) * 2 // 3])
    code, _, err = evaluate(
        capsys, '--bag', tmp_path / 'cut.mcap', '--bundle', probe_bundle.folder,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    found = results(tmp_path / 'out')
    assert code == 1
    assert 'incomplete' in err
    assert 0 < found['sources'][0]['labelled'] < 40
    assert found['conditions']['all']['miou'] == 1
