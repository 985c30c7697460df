"""Evaluations of the same frames, compared."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from streets import blocks, write_street

from dgss_core.cli import main
from dgss_core.errors import DgssError
from dgss_core.evaluation.comparison import Run, compare

STREET = {'day': 6, 'night': 3}


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Masks with more and more wrong rows, each evaluated: the folders by the number of rows."""
    root = tmp_path_factory.mktemp('street')
    data = write_street(root, STREET)
    folders = {}
    for rows in (4, 8, 12):
        masks = root / f'masks{rows}'
        masks.mkdir()
        for number, (condition, count) in enumerate(STREET.items()):
            for index in range(count):
                mask = blocks(100 * number + index)
                mask[: rows + index % 2] = (mask[: rows + index % 2] + 1) % 16
                name = f'{condition}_drive{index % 2}_{index}.png'
                cv2.imwrite(str(masks / name), mask)
        folders[rows] = root / f'out{rows}'
        arguments = ['--data', data, '--root', root, '--predictions', masks]
        code = main(['evaluate', *map(str, [*arguments, '--output', folders[rows]])])
        assert code == 0
    return folders


def test_differences_are_those_of_the_scores(runs):
    ours, theirs = Run.load(runs[4]), Run.load(runs[12])
    found = compare(ours, theirs, resamples=100)
    assert found['frames'] == 9
    assert [*found['conditions']] == ['all', 'day', 'night']
    for name, scores in found['conditions'].items():
        before = theirs.results['conditions'][name]
        after = ours.results['conditions'][name]
        assert scores['frames'] == after['frames']
        for key in ('miou', 'accuracy', 'boundary_iou'):
            assert scores[key]['ours'] == pytest.approx(after[key])
            assert scores[key]['difference'] == pytest.approx(after[key] - before[key])
        low, high = scores['miou']['interval']
        assert 0 < low <= scores['miou']['difference'] <= high
        assert scores['miou']['p'] == 0.5  # There are two drives.
    assert found['conditions']['all']['unit'] == 'drive'
    json.dumps(found, allow_nan=False)


def test_the_frames_that_changed_most_come_first(runs):
    ours, theirs = Run.load(runs[4]), Run.load(runs[12])
    changed = compare(ours, theirs, resamples=10)['changed']
    assert len(changed) == 9
    sizes = [abs(entry['difference']) for entry in changed]
    assert sizes == sorted(sizes, reverse=True)
    facts = {frame['name']: frame['miou'] for frame in theirs.results['frames']}
    for entry in changed:
        assert entry['theirs'] == facts[entry['name']]
        assert entry['ours'] - entry['theirs'] == entry['difference'] > 0
    assert compare(ours, ours, resamples=10)['changed'] == []


def test_frames_that_do_not_match_are_left_out_and_named(runs):
    ours, theirs = Run.load(runs[4]), Run.load(runs[8])
    frames = [dict(frame) for frame in theirs.results['frames']]
    names = [frame['name'] for frame in frames]
    frames[0]['name'] = 'another'
    counts = [*theirs.counts]
    counts[1] = counts[2]
    other = Run('other', {**theirs.results, 'frames': frames}, counts)
    found = compare(ours, other, resamples=10)
    assert found['frames'] == 7
    assert found['left_out'] == {
        'only_ours': {'count': 1, 'frames': [names[0]]},
        'only_theirs': {'count': 1, 'frames': ['another']},
        'other_labels': {'count': 1, 'frames': [names[1]]},
    }


def test_frames_of_one_name_are_paired_in_their_order(runs):
    run = Run.load(runs[4])
    twice = run.results['frames'][:1] * 2
    both = Run('twice', {**run.results, 'frames': twice}, [run.counts[0], run.counts[0]])
    assert compare(both, both, resamples=10)['frames'] == 2
    assert compare(both, run, resamples=10)['left_out']['only_ours']['count'] == 1


def test_runs_that_cannot_be_compared_are_refused(runs, tmp_path):
    run = Run.load(runs[4])
    none = Run('none', {**run.results, 'frames': []}, [])
    with pytest.raises(DgssError, match='no labelled frame in common'):
        compare(run, none)
    classes = run.results['label_set']['classes'][:-1]
    fewer = {**run.results, 'label_set': {'name': 'fewer', 'classes': classes}}
    with pytest.raises(DgssError, match=r'scored in cityscapes19 and .* in fewer'):
        compare(run, Run('fewer', fewer, run.counts))
    wider = [replace(counts, band=7) for counts in run.counts]
    with pytest.raises(DgssError, match='bands of 5 and 7 pixels'):
        compare(run, Run('wider', run.results, wider))
    with pytest.raises(DgssError, match=r'holds no results\.json'):
        Run.load(tmp_path)


@pytest.mark.parametrize('change', ['missing', 'cut', 'shorter'])
def test_results_without_their_counts_are_refused(runs, tmp_path, change):
    for name in ('results.json', 'counts.npz'):
        (tmp_path / name).write_bytes((runs[4] / name).read_bytes())
    counts = tmp_path / 'counts.npz'
    if change == 'missing':
        counts.unlink()
    elif change == 'cut':
        counts.write_bytes(counts.read_bytes()[:-200])
    else:
        with np.load(counts) as arrays:
            fewer = {
                name: arrays[name][:2] if arrays[name].ndim else arrays[name] for name in arrays
            }
        np.savez(counts, **fewer)
    with pytest.raises(DgssError, match=r'counts\.npz and the results beside it do not fit'):
        Run.load(tmp_path)


def test_the_verb_prints_and_writes_every_comparison(runs, tmp_path, capsys):
    folders = [of_no_drive(runs[rows], tmp_path / str(rows)) for rows in (12, 8, 4)]
    output = tmp_path / 'comparison.json'
    arguments = [*folders[:2], '--more', folders[2], '--output', output, '--resamples', '100']
    assert main(['compare', *map(str, arguments)]) == 0
    printed = capsys.readouterr().out
    assert printed.count('significant') == 4  # Both for all and by day; night has three frames.
    document = json.loads(output.read_text())
    small, large = (c['conditions']['all']['miou']['difference'] for c in document['comparisons'])
    assert 0 < small < large
    assert main(['compare', *map(str, arguments)]) == 0  # It replaces its own file,
    output.write_text('{}')
    assert main(['compare', *map(str, arguments)]) == 2  # and no other one.
    assert output.read_text() == '{}'
    assert 'is not a comparison' in capsys.readouterr().err


def of_no_drive(folder, target):
    """The same evaluation of single pictures, so that frames are resampled."""
    target.mkdir()
    (target / 'counts.npz').write_bytes((folder / 'counts.npz').read_bytes())
    results = json.loads((folder / 'results.json').read_text())
    results['frames'] = [{**frame, 'drive': ''} for frame in results['frames']]
    (target / 'results.json').write_text(json.dumps(results))
    return target
