"""An evaluation as bags for Foxglove and as a data set for FiftyOne, read by what reads such."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from evaluated import evaluate, results
from exports import WRONG_ROWS, export
from fleets import write_drives

from dgss_core.bags import Bag, read_bag
from dgss_core.bags.below import bags_at
from dgss_core.bags.reader import decode_message, deserialized
from dgss_core.evaluation.pictures import RIGHT, error_indices, error_palette
from dgss_core.images.compressed import decode_compressed
from dgss_core.labels import LabelSet
from dgss_core.runtime.bundle import Bundle

LABELS = LabelSet.load('cityscapes19')
LAYOUT = Path(__file__).parents[2] / 'config' / 'foxglove' / 'evaluation.json'
BAG = '001_drive_camera_image_raw'


def messages(bag: Path, topic: str) -> list[Any]:
    return [deserialized(message) for message in Bag(bag).messages({topic})]


def test_a_bag_for_foxglove_holds_what_the_node_publishes(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    done = export(tmp_path, probe_bundle, capsys, 'foxglove')
    bags = sorted(path.parent.name for path in (done.output / 'foxglove').glob('*/metadata.yaml'))
    assert len(bags) == 2
    assert bags[1] == BAG
    bag = done.output / 'foxglove' / BAG
    masks = [decode_message(m)[1][..., 0] for m in Bag(bag).messages({'/dgss/mask'})]
    np.testing.assert_array_equal(masks, done.masks)
    colors = messages(bag, '/dgss/color_mask/compressed')
    np.testing.assert_array_equal(decode_compressed(colors[1].data), LABELS.colors[done.masks[1]])
    errors = messages(bag, '/dgss/error/compressed')
    assert len(errors) == 3
    error = error_indices(done.masks[2], done.labels[2])
    np.testing.assert_array_equal(
        decode_compressed(errors[2].data), error_palette(LABELS.colors)[error]
    )
    assert (error[WRONG_ROWS:-4] == RIGHT).all()
    (classes,) = messages(bag, '/dgss/labels')
    assert LabelSet.from_dict(json.loads(classes.data)) == LABELS
    frames = [*read_bag(bag)]
    assert [frame.condition for frame in frames] == ['day', 'day', 'night', 'night']
    assert [frame.stamp_ns for frame in frames] == [f.stamp_ns for f in read_bag(done.drive)]
    found = {f['name']: f['miou'] for f in results(done.output)['frames'] if f['source'] == 1}
    scores = messages(bag, '/dgss/scores/miou')
    assert [s.data for s in scores] == pytest.approx([found[f'{i:06d}'] for i in range(3)])


def test_the_layout_for_foxglove_shows_topics_of_the_bag(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    done = export(tmp_path, probe_bundle, capsys, 'foxglove')
    topics = {topic.name for topic in Bag(done.output / 'foxglove' / BAG).topics}
    shown = set(re.findall(r'"(/[a-z_/]+)(?:\.data)?"', LAYOUT.read_text()))
    assert len(shown) == 9
    # The pictures show no drive that could flicker.
    assert shown - topics == {'/dgss/scores/flicker'}


def test_a_bag_for_foxglove_has_the_scores_of_its_evaluation(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    done = export(tmp_path, probe_bundle, capsys, 'foxglove')
    bag = done.output / 'foxglove' / BAG
    code, _, err = evaluate(
        capsys, '--bag', bag, '--predictions', bag, '--output', tmp_path / 'again',
        '--resamples', 20,
    )  # fmt: skip
    assert code == 1, err
    again = results(tmp_path / 'again')
    first = [f for f in results(done.output)['frames'] if f['source'] == 1]
    for key in ('name', 'condition', 'miou', 'accuracy', 'confidence', 'labelled_pixels'):
        assert [f[key] for f in again['frames']] == [f[key] for f in first]
    again_counts, counts = (
        np.load(folder / 'counts.npz') for folder in (tmp_path / 'again', done.output)
    )
    for name in ('confusion', 'boundary', 'right', 'wrong'):
        np.testing.assert_array_equal(again_counts[name], counts[name][2:])


def test_a_dataset_for_fiftyone_has_its_layout(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    done = export(tmp_path, probe_bundle, capsys, 'fiftyone')
    folder = done.output / 'fiftyone'
    metadata = json.loads((folder / 'metadata.json').read_text())
    samples = json.loads((folder / 'samples.json').read_text())['samples']
    assert metadata['default_mask_targets'] == {
        str(label.id + 1): label.name for label in LABELS.labels
    }
    fields = {field['name'] for field in metadata['sample_fields']}
    assert len(samples) == 6
    for sample in samples:
        assert {key for key in sample if not key.startswith('_')} <= fields
        assert (folder / sample['filepath']).is_file()
    assert len({str(sample['_id']) for sample in samples}) == 6
    assert [sample['tags'] for sample in samples[2:]] == [['day'], ['day'], ['night'], ['night']]
    for sample, mask, labels in zip(samples[2:], done.masks, done.labels, strict=True):
        stored = cv2.imread(str(folder / sample['predictions']['mask_path']), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(stored, mask + 1)
        if labels is None:
            assert 'ground_truth' not in sample
            assert sample['miou'] is None
        else:
            path = str(folder / sample['ground_truth']['mask_path'])
            expected = np.where(labels == 255, 0, labels + 1)
            np.testing.assert_array_equal(cv2.imread(path, cv2.IMREAD_UNCHANGED), expected)
            assert 0 < sample['miou'] < 1


def test_an_export_replaces_only_its_own_folder(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    drives = write_drives(tmp_path / 'drives', frames=2, drives=1)
    given = (
        '--bundle', probe_bundle.folder, '--bag', drives, '--output', tmp_path / 'out',
        '--overwrite', '--resamples', 20, '--export',
    )  # fmt: skip
    for _ in range(2):
        code, _, err = evaluate(capsys, *given, 'foxglove', 'fiftyone')
        assert code == 0, err
    for name in ('foxglove', 'fiftyone'):
        (tmp_path / 'out' / name / 'notes.txt').write_text('mine')
        code, _, err = evaluate(capsys, *given, name)
        assert code == 2
        assert 'notes.txt' in err
        assert (tmp_path / 'out' / name / 'notes.txt').read_text() == 'mine'
    # A bag of somebody else is none of the export, though it is a bag.
    (tmp_path / 'out' / 'foxglove' / 'notes.txt').unlink()
    shutil.copytree(next(iter(drives.iterdir())), tmp_path / 'out' / 'foxglove' / 'mine')
    code, _, err = evaluate(capsys, *given, 'foxglove')
    assert code == 2
    assert 'it holds mine' in err


def test_drives_of_a_fleet_are_exported_too(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    drives = write_drives(tmp_path / 'drives', frames=2, drives=2)
    code, _, err = evaluate(
        capsys, '--bundle', probe_bundle.folder, '--bag', drives, '--output', tmp_path / 'out',
        '--workers', 1, '--resamples', 20, '--export', 'foxglove',
    )  # fmt: skip
    assert code == 0, err
    bags = bags_at(tmp_path / 'out' / 'foxglove')
    assert [len([*read_bag(bag)]) for bag in bags] == [2, 3]


def test_a_missing_library_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, 'rerun', None)
    code, _, err = evaluate(
        capsys, '--data', 'synthetic', '--output', tmp_path / 'out', '--export', 'rerun'
    )
    assert code == 2
    assert 'pip install dgss_ros[rerun]' in err
    assert not (tmp_path / 'out').exists()
