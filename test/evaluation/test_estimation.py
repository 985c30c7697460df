"""The estimate of the condition, on drives that it was not fitted to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluated import evaluate, results
from streets import film, write_street

from dgss_core.bags import write_bag
from dgss_core.corruptions import corrupt
from dgss_core.datasets import Sample, build_dataset
from dgss_core.errors import DgssError
from dgss_core.evaluation.dataset_frames import DatasetFrames
from dgss_core.evaluation.estimation import WINDOW, ConditionModel, estimates
from dgss_core.labels import LabelSet
from dgss_core.synthetic import CONDITIONS, StreetDrive

MODEL = ConditionModel.load()


def share_of(condition: str, images: list[np.ndarray]) -> float:
    found = [CONDITIONS[int(MODEL.log_odds(image).argmax())] for image in images]
    return found.count(condition) / len(found)


@pytest.mark.parametrize('condition', CONDITIONS)
def test_the_condition_of_a_synthetic_drive(condition: str) -> None:
    images = [
        StreetDrive(seed, condition, width=320, height=192).frame(7).image
        for seed in range(80, 83)
    ]
    assert share_of(condition, images) >= (0.3 if condition == 'fog' else 0.6)


def test_neighbours_in_a_drive_decide_together() -> None:
    clear, wrong = np.eye(6)[2], 1.5 * np.eye(6)[0]
    rows = [clear] * 40
    rows[20] = wrong
    assert estimates(rows, ['a'] * 40) == ['night'] * 40
    assert estimates(rows, [''] * 40)[20] == 'day'
    # Two drives of their own.
    parts = estimates([clear] * 3 + [wrong] * 3, ['a'] * 3 + ['b'] * 3)
    assert parts == ['night'] * 3 + ['day'] * 3
    long = estimates([clear] * 200 + [2 * wrong] * 200, ['a'] * 400)
    changes = [k for k in range(1, 400) if long[k] != long[k - 1]]
    assert len(changes) == 1
    assert abs(changes[0] - 200) <= WINDOW


def test_real_day_and_dusk(shared: Path) -> None:
    root = shared / 'data' / 'camvid'
    found = {}
    for split in ('day_test', 'dusk'):
        dataset = build_dataset('camvid', root, split)
        images = [dataset[index].image for index in range(len(dataset))]
        rows = [MODEL.log_odds(image) for image in images]
        found[split] = estimates(rows, [split] * len(rows))
        if split == 'day_test':
            days = images[::12]
    assert found['day_test'].count('day') / len(found['day_test']) >= 0.97
    assert found['dusk'].count('dusk') / len(found['dusk']) >= 0.9
    assert share_of('fog', [corrupt(day, 'fog', 4, seed=3) for day in days]) >= 0.8
    assert share_of('snow', [corrupt(day, 'snow', 3, seed=3) for day in days]) >= 0.8


def test_a_bag_without_conditions_is_scored_by_the_estimate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = StreetDrive(80, 'night', width=320, height=192).frame(0).image
    labels = np.zeros(night.shape[:2], np.uint8)
    frames = [replace(frame, image=night, labels=labels) for frame in film(4)]
    write_bag(tmp_path / 'drive', frames)
    arguments = ('--bag', tmp_path / 'drive', '--label-set', 'cityscapes19')
    code, _, _ = evaluate(
        capsys, *arguments, '--estimate-conditions', '--output', tmp_path / 'out'
    )
    found = results(tmp_path / 'out')
    assert code == 0
    assert [*found['conditions']] == ['all', 'night']
    assert found['estimated'] == {'unknown': {'night': 4}}
    assert 'Estimated conditions' in (tmp_path / 'out' / 'report.html').read_text()


def test_a_data_set_that_tells_no_condition_has_unknown_ones(tmp_path: Path) -> None:
    file = write_street(tmp_path, {'day': 1})
    (told,) = DatasetFrames(build_dataset(str(file), tmp_path / 'street')).keys
    assert told.condition == 'day'
    file.write_text(
        "images: 'day/images/{name}.png'\nlabels: 'day/labels/{name}.png'\n"
        'label_set: cityscapes19\n'
    )
    (untold,) = DatasetFrames(build_dataset(str(file), tmp_path / 'street')).keys
    assert untold.condition == 'unknown'
    file.write_text(file.read_text() + 'condition: rain\n')
    (named,) = DatasetFrames(build_dataset(str(file), tmp_path / 'street')).keys
    assert named.condition == 'rain'


class Foreign:
    """Two frames, as a plugin gives them."""

    title, label_set, fingerprint = 'foreign', LabelSet.load('cityscapes19'), 'f'
    names = ('dawn_7', 'dusk_8')

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        plane = self.labels(index)
        return Sample(self.names[index], np.dstack([plane] * 3), plane, ('night', 'dusk')[index])

    def labels(self, index: int) -> np.ndarray:
        return np.zeros((4, 6), np.uint8)


def test_a_data_set_of_a_plugin_tells_names_and_conditions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = DatasetFrames(Foreign()).keys
    assert [(key.name, key.condition) for key in keys] == [('dawn_7', 'night'), ('dusk_8', 'dusk')]
    monkeypatch.setattr(Foreign, 'names', ('one', 'one'))
    with pytest.raises(DgssError, match='share a name'):
        len(DatasetFrames(Foreign()).keys)
