"""The corruption suite on a network whose answer is known: mask = red // 16."""

import json
import os
import zlib

import numpy as np
import pytest
from probe import write_probe_bundle
from streets import write_street

from dgss_core.confusion import ConfusionMatrix
from dgss_core.corruptions import EVALUATED, corrupt
from dgss_core.datasets import build_dataset
from dgss_core.errors import DgssError
from dgss_core.evaluation.corruption_suite import CLEAN, Cell, SuiteOptions, run_suite
from dgss_core.evaluation.counts import FrameCounts
from dgss_core.evaluation.dataset_frames import DatasetFrames
from dgss_core.evaluation.ood import OodFolder
from dgss_core.evaluation.predictors import SegmenterPredictor
from dgss_core.evaluation.suite_summary import suite_results
from dgss_core.images.compressed import encode_png
from dgss_core.images.frames import read_labels
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.segmenter import Segmenter

OPTIONS = SuiteOptions(('gaussian_noise', 'street_night'), (1, 5), seed=3)


class Counting(SegmenterPredictor):
    """Counts its predictions."""

    calls = 0

    def predict(self, key, prepared):
        self.calls += 1
        return super().predict(key, prepared)


@pytest.fixture(scope='module')
def predictor(tmp_path_factory):
    bundle = write_probe_bundle(tmp_path_factory.mktemp('bundle') / 'probe')
    with Segmenter(open_bundle(bundle), 'onnxruntime') as segmenter:
        yield Counting(segmenter)


@pytest.fixture
def frames(tmp_path):
    file = write_street(tmp_path / 'data', {'day': 3}, wrong_rows=8)
    return DatasetFrames(build_dataset(str(file), tmp_path / 'data' / 'street'))


def slowly(frames, name, severity):
    matrix = ConfusionMatrix(frames.label_set)
    for sample, key in zip(map(frames.dataset.__getitem__, range(3)), frames.keys, strict=True):
        seed = zlib.crc32(f'3 {key.name}'.encode())
        image = corrupt(sample.image, name, severity, seed) if name else sample.image
        matrix.add(image[..., 0] // 16, sample.labels)
    return matrix


def test_every_cell_equals_a_loop_over_its_frames(frames, predictor, tmp_path):
    found = run_suite(frames, {'ours': predictor}, frames.label_set, tmp_path / 'kept', OPTIONS)
    cells = found['ours']
    assert [*cells] == [
        CLEAN,
        Cell('gaussian_noise', 1),
        Cell('gaussian_noise', 5),
        Cell('street_night', 1),
        Cell('street_night', 5),
    ]
    for cell, counts in cells.items():
        np.testing.assert_array_equal(counts.confusion, slowly(frames, *cell).counts, str(cell))
        assert counts.frames == 3
        assert counts.right.sum() + counts.wrong.sum() == counts.confusion.sum()


def test_a_run_goes_on_where_it_was(frames, predictor, tmp_path):
    short = SuiteOptions(OPTIONS.names[:1], (1,), OPTIONS.seed)
    run_suite(frames, {'ours': predictor}, frames.label_set, tmp_path / 'kept', short)
    before = predictor.calls
    whole = run_suite(frames, {'ours': predictor}, frames.label_set, tmp_path / 'kept', OPTIONS)
    assert predictor.calls - before == 3 * (5 - 2)
    again = run_suite(frames, {'ours': predictor}, frames.label_set, tmp_path / 'kept', OPTIONS)
    assert predictor.calls - before == 3 * (5 - 2)
    assert suite_results(whole['ours']) == suite_results(again['ours'])
    other = SuiteOptions(OPTIONS.names, OPTIONS.severities, seed=4)
    third = run_suite(frames, {'ours': predictor}, frames.label_set, tmp_path / 'kept', other)
    assert suite_results(third['ours']) != suite_results(whole['ours'])


def test_corrected_labels_are_counted_anew(frames, predictor, tmp_path):
    def confusion():
        opened = DatasetFrames(build_dataset(str(file), tmp_path / 'data' / 'street'))
        found = run_suite(
            opened, {'ours': predictor}, frames.label_set, tmp_path / 'kept', OPTIONS
        )
        return found['ours'][CLEAN].confusion

    file = next((tmp_path / 'data').glob('*.yaml'))
    before = confusion()
    labels = next((tmp_path / 'data' / 'street').rglob('labels/*.png'))
    labels.write_bytes(encode_png(np.full_like(read_labels(labels), 255)))
    assert confusion().sum() < before.sum()


def test_two_predictors_see_the_same_images(frames, predictor, tmp_path):
    both = {'ours': predictor, 'theirs': predictor}
    found = run_suite(frames, both, frames.label_set, tmp_path / 'kept', OPTIONS)
    assert suite_results(found['ours']) == suite_results(found['theirs'])


def test_a_frame_that_cannot_be_scored_is_left_out_everywhere(frames, predictor, tmp_path):
    images = sorted((tmp_path / 'data' / 'street').rglob('images/*.png'))
    images[1].write_bytes(b'no picture')
    found = run_suite(frames, {'ours': predictor}, frames.label_set, tmp_path / 'kept', OPTIONS)
    assert {int(counts.frames) for counts in found['ours'].values()} == {2}
    assert [problem.count for problem in frames.problems] == [1]


def test_mistakes_are_one_sentence(frames, predictor, tmp_path):
    def run():
        run_suite(frames, {'ours': predictor}, frames.label_set, tmp_path / 'kept', OPTIONS)

    run()
    kept = next((tmp_path / 'kept').rglob('clean.npz'))
    kept.write_bytes(b'PK nothing')
    with pytest.raises(DgssError, match=r'clean\.npz cannot be read .*; delete it'):
        run()
    with pytest.raises(DgssError, match="no corruption 'fogg'"):
        SuiteOptions(('fogg',))
    with pytest.raises(DgssError, match='severity 6 is unknown'):
        SuiteOptions(('fog',), (6,))


def test_a_cell_that_cannot_be_kept_is_named(frames, predictor, tmp_path):
    (tmp_path / 'kept').write_text('a file')
    with pytest.raises(DgssError, match=r'clean\.npz cannot be written'):
        run_suite(frames, {'ours': predictor}, frames.label_set, tmp_path / 'kept', OPTIONS)


def test_a_frame_that_fails_later_is_not_left_out_silently(frames, predictor, tmp_path):
    short = SuiteOptions(OPTIONS.names[:1], (1,), OPTIONS.seed)
    run_suite(frames, {'ours': predictor}, frames.label_set, tmp_path / 'kept', short)
    images = sorted((tmp_path / 'data' / 'street').rglob('images/*.png'))
    facts = images[1].stat()
    images[1].write_bytes(b'no picture')
    os.utime(images[1], ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(DgssError, match=r'Of 3 frames .* only 2 could be scored with'):
        run_suite(frames, {'ours': predictor}, frames.label_set, tmp_path / 'kept', OPTIONS)


def counts_of(right):
    """Counts of one class of which `right` of 100 pixels are right."""
    labels, mask = np.zeros((2, 1, 100), np.uint8)
    mask[:, right:] = 255
    return FrameCounts.of(mask, labels, classes=2)


def test_the_summary_is_by_corruption_family_and_benchmark():
    miou = {
        Cell('gaussian_noise', 1): 60,
        Cell('gaussian_noise', 5): 20,
        Cell('shot_noise', 1): 70,
        Cell('shot_noise', 5): 50,
        Cell('fog', 1): 75,
        Cell('fog', 5): 45,
        Cell('street_night', 1): 40,
        Cell('street_night', 5): 10,
    }
    found = suite_results({CLEAN: counts_of(80)} | {c: counts_of(n) for c, n in miou.items()})
    assert found['clean'] == pytest.approx(0.8)
    assert found['severities'] == [1, 5]
    assert found['scores']['fog'] == pytest.approx([0.75, 0.45])
    assert found['families'] == pytest.approx({'noise': 0.5, 'weather': 0.6, 'street': 0.25})
    benchmark = found['benchmark']
    # Noises count up to severity 3 alone, and every corruption by its mean.
    assert benchmark['mean'] == pytest.approx((60 + 70 + (75 + 45) / 2) / 300)
    assert benchmark['severest'] == pytest.approx(0.45)
    assert benchmark['worst'] == ('fog', 5, pytest.approx(0.45))
    assert benchmark['retention_severest'] == pytest.approx(0.45 / 0.8)
    assert found['mean'] == pytest.approx(sum(miou.values()) / 800)
    assert found['retention'] == pytest.approx(sum(miou.values()) / 800 / 0.8)
    assert found['worst'] == ('street_night', 5, pytest.approx(0.1))


def test_without_labelled_pixels_the_summary_is_null():
    labels = np.full((2, 2), 255, np.uint8)
    nothing = FrameCounts.of(labels, labels, classes=2)
    found = suite_results({CLEAN: nothing, Cell('fog', 5): nothing})
    json.dumps(found, allow_nan=False)
    assert found['scores'] == {'fog': [None]}
    assert found['families'] == {'weather': None}
    for name in ('mean', 'severest', 'worst', 'retention', 'retention_severest', 'clean'):
        assert found[name] is None


def test_all_twenty_corruptions_at_five_severities_are_measured():
    assert len(SuiteOptions().cells) == 1 + 5 * 20
    assert {cell.name for cell in SuiteOptions().cells} == {'', *EVALUATED}


def test_what_lies_outside_the_distribution_counts_in_no_cell(frames, predictor, tmp_path):
    folder = tmp_path / 'ood'
    folder.mkdir()
    short = SuiteOptions(('fog',), (1,))

    def pixels(ood):
        found = run_suite(
            frames, {'ours': predictor}, frames.label_set, tmp_path / 'kept', short, ood=ood
        )
        return {cell: int(counts.confusion.sum()) for cell, counts in found['ours'].items()}

    whole = pixels(None)
    unusual = np.zeros((48, 64), np.uint8)
    unusual[:12] = 1
    (folder / f'{frames.keys[0].name}.png').write_bytes(encode_png(unusual))
    left = pixels(OodFolder(folder))
    assert {cell: whole[cell] - left[cell] for cell in whole} == dict.fromkeys(whole, 12 * 64)
