"""Evaluations side by side: paired by frame, against the bootstrap itself; damaged ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from evaluations import LABELS, Drives
from report_page import Page

from dgss_core.errors import DgssError
from dgss_core.evaluation.bootstrap import differences
from dgss_core.evaluation.compare import compare_runs
from dgss_core.evaluation.finished import read_run
from dgss_core.evaluation.folder import EvaluationFolder
from dgss_core.evaluation.frames import short_drives
from dgss_core.evaluation.report.comparison import build_comparison

WORSE = {'day': 0.05, 'night': 0.55, 'fog': 0.25}
BETTER = {'day': 0.05, 'night': 0.2, 'fog': 0.25}


def write(path, drives, **changes):
    folder = EvaluationFolder(path, overwrite=False, inputs=())
    folder.write(drives.results() | changes, drives.counts().items())
    return path


@pytest.fixture(scope='module')
def before(tmp_path_factory):
    drives = Drives(errors=WORSE)
    return drives, write(tmp_path_factory.mktemp('before') / 'before', drives)


@pytest.fixture(scope='module')
def after(tmp_path_factory):
    drives = Drives(errors=BETTER, seed=5)
    return drives, write(tmp_path_factory.mktemp('after') / 'after', drives)


@pytest.fixture(scope='module')
def found(before, after):
    return compare_runs([read_run(path) for _, path in (before, after)], resamples=60, seed=3)


def only(pairs):
    (pair,) = pairs
    return pair


def test_drives_are_compared_however_their_paths_are_written():
    assert short_drives(['/w/a/drive', '/w/b/drive', '/w/b/other', '']) == {
        '/w/a/drive': 'a/drive',
        '/w/b/drive': 'b/drive',
        '/w/b/other': 'other',
        '': '',
    }
    for path in ('drive', '/data/drive', 'data/drive/'):
        assert short_drives([path]) == {path: 'drive'}


def test_the_differences_are_those_of_the_paired_bootstrap(before, after, found):
    pair = only(found['pairs'])
    assert [*pair['conditions']] == ['all', 'day', 'night', 'fog']
    first, second = before[0].scored(), after[0].scored()
    for name, group in pair['conditions'].items():
        places = [k for k, frame in enumerate(first) if name in ('all', frame.key.condition)]
        expected = differences(
            [second[k].counts.unpacked() for k in places],
            [first[k].counts.unpacked() for k in places],
            [first[k].key.drive for k in places],
            LABELS,
            resamples=60,
            seed=3,
        )
        assert group['differences'] == expected
        assert group['frames'] == len(places)
        scored = [drives.results()['conditions'][name]['miou'] for drives, _ in (before, after)]
        assert [side['miou'] for side in group['scores']] == scored
    night = pair['conditions']['night']['differences']['miou']
    assert night['difference'] > 0.05
    assert night['interval'][0] > 0
    assert found['problems'] == []
    json.dumps(found, allow_nan=False)


def test_the_frames_that_changed_most_come_first(before, after, found):
    changed = only(found['pairs'])['changed']
    values = [
        [frame['miou'] for frame in drives.results()['frames']] for drives, _ in (before, after)
    ]
    names = [frame['name'] for frame in before[0].results()['frames']]
    moved = sorted(zip(names, *values, strict=True), key=lambda f: -abs(f[2] - f[1]))
    assert [frame['name'] for frame in changed] == [name for name, *_ in moved]
    assert changed[0]['difference'] == pytest.approx(moved[0][2] - moved[0][1])
    assert changed[0]['condition'] == 'night'


def test_an_evaluation_against_itself_differs_nowhere(before):
    run = read_run(before[1])
    pair = only(compare_runs([run, run], resamples=20)['pairs'])
    assert pair['changed'] == []
    entry = pair['conditions']['all']['differences']['miou']
    assert entry == {'difference': 0.0, 'interval': [0.0, 0.0], 'p': 1.0}


def test_every_run_is_compared_with_the_first(before, after):
    one, two = read_run(before[1]), read_run(after[1])
    found = compare_runs([one, two, one], resamples=20)
    assert [pair['runs'] for pair in found['pairs']] == [[0, 1], [0, 2]]


def test_frames_that_only_one_has_are_counted_and_the_others_compared(before, tmp_path):
    part = Drives(errors=WORSE)
    part.frames = part.frames[3:]
    found = compare_runs(
        [read_run(before[1]), read_run(write(tmp_path / 'part', part))], resamples=20
    )
    assert only(found['pairs'])['frames'] == 15
    problem = only(found['problems'])
    assert (problem['count'], problem['frames']) == (3, ['day-000', 'day-001', 'day-002'])
    assert 'evaluate both on the same data' in problem['what']


def test_frames_with_other_labels_are_counted_and_left_out(before, tmp_path):
    other = Drives(errors=WORSE)
    key, image, labels, mask, confidence = other.frames[2]
    changed = labels.copy()
    changed[0, :9] = 3
    other.frames[2] = (key, image, changed, mask, confidence)
    found = compare_runs(
        [read_run(before[1]), read_run(write(tmp_path / 'other', other))], resamples=20
    )
    assert only(found['pairs'])['frames'] == 17
    assert only(found['problems'])['frames'] == ['day-002']
    assert 'other labels' in only(found['problems'])['what']


def test_frames_of_one_name_are_never_paired_by_chance(before, tmp_path):
    twice = Drives(errors=WORSE)
    twice.frames.append(twice.frames[0])
    found = compare_runs(
        [read_run(before[1]), read_run(write(tmp_path / 'twice', twice))], resamples=20
    )
    assert only(found['pairs'])['frames'] == 17
    told = [problem['what'] for problem in found['problems']]
    assert any('share a name' in what for what in told)


def test_nothing_in_common_is_a_sentence(before, tmp_path):
    others = Drives(errors={'snow': 0.1})
    path = write(tmp_path / 'snow', others)
    with pytest.raises(DgssError, match='no labelled frame in common') as error:
        compare_runs([read_run(before[1]), read_run(path)])
    assert '18 labelled frames' in str(error.value)


def test_another_label_set_is_a_sentence(before, tmp_path):
    results = before[0].results()
    classes = results['label_set']['classes']
    named = {'name': 'other', 'classes': [*classes[:-1], {**classes[-1], 'name': 'tricycle'}]}
    path = write(tmp_path / 'named', before[0], label_set=named)
    with pytest.raises(DgssError, match=r'cityscapes19.*other.*--label-set'):
        compare_runs([read_run(before[1]), read_run(path)])


def test_another_band_is_a_sentence(before, tmp_path):
    path = tmp_path / 'band'
    folder = EvaluationFolder(path, overwrite=False, inputs=())
    folder.write(before[0].results(), (before[0].counts() | {'band': np.array(9)}).items())
    with pytest.raises(DgssError, match=r'band of 5 pixels.*9.*--band'):
        compare_runs([read_run(before[1]), read_run(path)])


def damaged(counts):
    yield {name: array for name, array in counts.items() if name != 'right'}
    yield {name: array[1:] if array.ndim else array for name, array in counts.items()}
    yield counts | {'confusion': counts['confusion'][:, :5, :6]}
    yield counts | {'boundary': counts['boundary'] * 0.5}
    yield counts | {'wrong': -counts['right'] - 1}
    yield counts | {'known': np.array(['x'])}
    yield counts | {'more': np.zeros(1_000_000, np.int64)}


@pytest.mark.parametrize('place', range(7))
def test_counts_of_something_else_are_a_sentence(before, tmp_path, place):
    counts = [*damaged(before[0].counts())][place]
    folder = EvaluationFolder(tmp_path / 'x', overwrite=False, inputs=())
    folder.write(before[0].results(), counts.items())
    with pytest.raises(DgssError, match='does not hold the counts of the 18 frames'):
        read_run(tmp_path / 'x')


@pytest.mark.parametrize('data', [b'', b'PK\x03\x04 but no zip', b'\x93NUMPY'])
def test_a_broken_counts_file_is_a_sentence(before, tmp_path, data):
    path = write(tmp_path / 'x', before[0])
    (path / 'counts.npz').write_bytes(data)
    with pytest.raises(DgssError, match='evaluate again'):
        read_run(path)


class Touches:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_in_a_counts_file_is_unpickled(before, tmp_path):
    path, mark = write(tmp_path / 'x', before[0]), tmp_path / 'mark'
    counts = before[0].counts() | {'right': np.array([Touches(mark)], object)}
    np.savez(path / 'counts.npz', **counts)
    with pytest.raises(DgssError, match='evaluate again'):
        read_run(path)
    assert not mark.exists()
    np.load(path / 'counts.npz', allow_pickle=True)['right']
    assert mark.exists()


@pytest.mark.parametrize('name', ['results.json', 'counts.npz'])
def test_a_missing_file_is_a_sentence(before, tmp_path, name):
    path = write(tmp_path / 'x', before[0])
    (path / name).unlink()
    with pytest.raises(DgssError, match=f'holds no {name}'):
        read_run(path)


@pytest.mark.parametrize('key', ['label_set', 'frames', 'predictor'])
@pytest.mark.parametrize('value', [None, 7, [1], {'a': 'b'}])
def test_a_results_file_of_another_form_is_a_sentence(before, tmp_path, key, value):
    path = write(tmp_path / 'x', before[0], **{key: value})
    with pytest.raises(DgssError):
        read_run(path)


def told(found):
    return found | {'made': 'today', 'command': 'dgss compare a b', 'environment': {}}


def test_the_page_shows_every_difference(found):
    page = Page(build_comparison(told(found)))
    assert [*page.sections] == ['runs', 'pair-0', 'made']
    groups = only(found['pairs'])['conditions']
    rows = page.rows('Differences by condition, with 95 % intervals')
    assert [*rows][1:] == [*groups]
    text = f'{groups["night"]["differences"]["miou"]["difference"]:+.3f}'
    assert text in rows['night']
    classes = page.rows('Differences of the IoU by class')
    assert [*classes][1:] == [label.name for label in LABELS.labels]
    assert len(page.tables['The frames whose mIoU changed most']) == 1 + 18
    night = page.sections['runs']
    assert 'better, mIoU +0.' in night or 'no clear difference, mIoU +0.' in night


def test_markup_in_the_page_of_a_comparison_stays_text(found):
    hostile = '<script>alert(1)</script>\x1b[2J'
    text = json.dumps(told(found)).replace('night', json.dumps(hostile)[1:-1])
    page = Page(build_comparison(json.loads(text)))
    assert [tag for tag, _ in page.elements].count('script') == 2
    assert '<script>alert(1)</script>\\x1b[2J' in page.sections['pair-0']


def test_counts_of_another_evaluation_are_a_sentence(before, after, tmp_path):
    path = write(tmp_path / 'mixed', before[0])
    (path / 'counts.npz').write_bytes((after[1] / 'counts.npz').read_bytes())
    with pytest.raises(DgssError, match='counts of another evaluation'):
        read_run(path)
