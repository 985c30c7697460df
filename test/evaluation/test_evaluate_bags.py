"""`dgss evaluate` on bags: labels and conditions find their images, and nothing is left out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from evaluated import evaluate, results
from streets import film

from dgss_core.bags import BagRecorder, read_messages, write_bag
from dgss_core.cli import main
from dgss_core.images.frames import FIRST_STAMP_NS
from dgss_core.runtime.bundle import Bundle


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
    ranges.write_text('night: [[100, 300]]\n')
    code, _, err = evaluate(
        capsys, '--bag', bag, '--conditions', ranges, '--bundle', probe_bundle.folder,
        '--output', tmp_path / 'out', '--overwrite',
    )  # fmt: skip
    assert code == 1
    assert 'No image lies in a range of --conditions' in err


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


def test_a_link_without_a_target_beside_a_bag_is_a_problem(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(tmp_path / 'drive', film(5))
    (tmp_path / 'drive' / 'more.mcap').symlink_to('/gone/more.mcap')
    code, _, err = evaluate(
        capsys, '--bag', tmp_path / 'drive', '--bundle', probe_bundle.folder,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 1
    assert "more.mcap is a link to '/gone/more.mcap', which does not exist" in err
    assert results(tmp_path / 'out')['conditions']['all']['frames'] == 5


def test_ignored_frames_count_nowhere_also_where_they_were_predicted_before(
    bag: Path, tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    ranges = tmp_path / 'ranges.yaml'
    ranges.write_text('day: [[0, 0.3]]\nignore: [[0.3, 0.5]]\nnight: [[0.5, 9]]\n')
    given = ('--bag', bag, '--bundle', probe_bundle.folder, '--overwrite')
    both = []
    for name, first in (('fresh', ()), ('again', given)):
        if first:
            evaluate(capsys, *first, '--output', tmp_path / name)
        code, _, err = evaluate(
            capsys, *given, '--conditions', ranges, '--output', tmp_path / name
        )
        assert code == 0, err
        both.append(results(tmp_path / name))
    fresh, again = both
    assert {name: s['frames'] for name, s in fresh['conditions'].items()} == {
        'all': 6, 'day': 3, 'night': 3
    }  # fmt: skip
    for key in ('conditions', 'drives', 'sources', 'problems'):
        assert again[key] == fresh[key]


def test_the_flicker_of_frames_around_a_gap_has_their_true_stride(
    bag: Path, tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    ranges = tmp_path / 'ranges.yaml'
    ranges.write_text('day: [[0, 0.1], [0.2, 0.3]]\nignore: [[0.1, 0.2], [0.3, 9]]\n')
    evaluate(
        capsys, '--bag', bag, '--bundle', probe_bundle.folder, '--conditions', ranges,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    assert [*results(tmp_path / 'out')['conditions']['day']['flicker']] == ['2']


def test_an_ignored_image_needs_no_labels(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = film(5)
    frames[2] = replace(frames[2], labels=None)
    write_bag(tmp_path / 'drive', frames)
    ranges = tmp_path / 'ranges.yaml'
    ranges.write_text('ignore: [[0.2, 0.3]]\n')
    code, _, err = evaluate(
        capsys, '--bag', tmp_path / 'drive', '--bundle', probe_bundle.folder,
        '--conditions', ranges, '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 0, err
    assert results(tmp_path / 'out')['problems'] == []


def test_labels_by_the_numbers_of_frames_are_of_one_bag_alone(
    bag: Path, tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(tmp_path / 'second', film(4))
    (tmp_path / 'labels').mkdir()
    cv2.imwrite(str(tmp_path / 'labels' / '000001.png'), film(2)[1].labels)
    given = ('--bundle', probe_bundle.folder, '--output', tmp_path / 'out')
    for option in ('--labels', '--ood'):
        code, _, err = evaluate(
            capsys, '--bag', bag, tmp_path / 'second', option, tmp_path / 'labels', *given
        )
        assert code == 2
        assert 'evaluate one bag at a time' in err


def test_a_path_that_is_not_utf8_keeps_the_results(
    bag: Path, tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = bag.rename(tmp_path / os.fsdecode(b'caf\xe9'))
    out = tmp_path / os.fsdecode(b'r\xe9sultat')
    code, _, err = evaluate(
        capsys, '--bag', foreign, '--bundle', probe_bundle.folder, '--output', out
    )
    assert code == 0, err
    assert [*results(out)['drives']] == [str(tmp_path / 'caf\\xe9')]
    assert main(['compare', str(out), str(out), '--output', str(tmp_path / 'both')]) == 0


def test_a_condition_of_a_reserved_name_counts_as_unknown(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ('day', 'day', 'all', 'ignore')
    frames = [replace(frame, condition=n) for frame, n in zip(film(4), names, strict=True)]
    write_bag(tmp_path / 'drive', frames)
    code, _, err = evaluate(
        capsys, '--bag', tmp_path / 'drive', '--bundle', probe_bundle.folder,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 1
    assert "calls the condition 'all'" in err
    assert "calls the condition 'ignore'" in err
    found = results(tmp_path / 'out')['conditions']
    assert {n: s['frames'] for n, s in found.items()} == {'all': 4, 'day': 2, 'unknown': 2}


def test_a_folder_may_hold_the_labels_of_several_bags_by_their_stamps(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / 'labels'
    labels.mkdir()
    frames = film(8)
    for name, part in (('first', frames[:4]), ('second', frames[4:])):
        write_bag(tmp_path / name, [replace(frame, labels=None) for frame in part])
    for frame in frames:
        cv2.imwrite(str(labels / f'{frame.stamp_ns}.png'), frame.labels)
    given = (
        '--bag', tmp_path / 'first', tmp_path / 'second', '--labels', labels,
        '--bundle', probe_bundle.folder,
    )  # fmt: skip
    code, _, err = evaluate(capsys, *given, '--output', tmp_path / 'out')
    assert code == 0, err
    assert results(tmp_path / 'out')['conditions']['unknown']['miou'] == 1
    cv2.imwrite(str(labels / f'{FIRST_STAMP_NS - 5}.png'), frames[0].labels)
    code, _, err = evaluate(capsys, *given, '--output', tmp_path / 'again')
    (problem,) = results(tmp_path / 'again')['problems']
    assert code == 1
    assert (problem['count'], problem['frames']) == (1, [str(FIRST_STAMP_NS - 5)])


def test_the_reason_why_no_frame_was_evaluated_is_the_true_one(
    bag: Path, tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images from before 1970 cannot be read, and so have no labels of their stamp."""
    with BagRecorder(tmp_path / 'early') as recorder:
        for message in read_messages(bag):
            data = bytearray(message.data)
            if message.topic.endswith('/image_raw'):
                data[4:8] = (-5).to_bytes(4, 'little', signed=True)
            recorder.record(message.topic, message.msgtype, message.stamp_ns, bytes(data))
    code, _, err = evaluate(
        capsys, '--bag', tmp_path / 'early', '--bundle', probe_bundle.folder,
        '--output', tmp_path / 'out',
    )  # fmt: skip
    assert code == 2
    assert 'which is no stamp; correct the clock' in err
