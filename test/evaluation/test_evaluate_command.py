"""`dgss evaluate` from the command line to results.json, against scores that are known."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from evaluated import evaluate, results
from streets import blocks, film, write_street

from dgss_core.bags import write_bag
from dgss_core.runtime.bundle import Bundle

STREET = {'day': 4, 'night': 2}


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


def test_frames_without_labels_have_no_labels_and_no_condition(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    write_street(tmp_path, {'night': 2})
    code, out, err = evaluate(
        capsys, '--data', 'unlabelled', '--root', tmp_path / 'street' / 'night' / 'images',
        '--bundle', probe_bundle.folder, '--output', tmp_path / 'out',
    )  # fmt: skip
    found = results(tmp_path / 'out')
    assert code == 0, err
    assert '2 predicted frames without labels' in out
    assert [*found['conditions']] == ['all', 'unknown']
    assert found['sources'][0]['labelled'] == 0


def test_labels_of_no_image_are_told(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_street(tmp_path, {'day': 3, 'night': 1})
    (tmp_path / 'street' / 'day' / 'images' / 'drive0_2.png').unlink()
    given = ('--root', tmp_path, '--bundle', probe_bundle.folder)
    code, _, _ = evaluate(capsys, '--data', data, *given, '--output', tmp_path / 'out')
    (problem,) = results(tmp_path / 'out')['problems']
    assert code == 1
    assert 'belongs to no image' in problem['what']
    assert (problem['count'], problem['frames']) == (1, ['day/labels/drive0_2.png'])
    # The night has all its images.
    night = (f'{data}::night', *given, '--output', tmp_path / 'night')
    assert evaluate(capsys, '--data', *night)[0] == 0


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
    'a severity of nothing': (('--data', 'synthetic', '--corruptions', '6'), 'severity 6'),
    'masks of other images': (
        ('--data', 'synthetic', '--predictions', '.', '--corruptions', '1'),
        'were made from others',
    ),
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
    # Verdicts of an earlier run would be taken for those of these results.
    assert evaluate(capsys, *given[:-3], '--overwrite')[0] == 0
    assert not {path.name for path in output.glob('criteria.*')}


def test_two_bundles_are_scored_under_corruptions(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = tmp_path / 'drive'
    write_bag(bag, film(2))
    code, out, err = evaluate(
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
    assert ': 100.0% of the pixels.' in out
    said = f'mean mIoU {suite["mean"]:.1%}, retention {suite["retention"]:.1%}.'
    assert f'Under corruptions of severity 2, 2 frames: {said}' in out
