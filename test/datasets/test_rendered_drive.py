"""The synthetic drive reads the frames that it kept, within the limit of the folder."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from dgss_core.datasets.synthetic import Synthetic
from dgss_core.errors import DgssError


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return {'seeds': (4,), 'frames': 3, 'width': 64, 'height': 36}


def test_the_drive_reads_what_it_kept(
    small: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = Synthetic(**small)
    monkeypatch.setenv('DGSS_SYNTHETIC_CACHE_GIB', '0')
    fresh = Synthetic(**small)
    monkeypatch.delenv('DGSS_SYNTHETIC_CACHE_GIB')
    expected = [fresh[i] for i in range(3)]
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        for i in (2, 0, 1):
            found = drive[i]
            assert (found.name, found.condition) == (expected[i].name, expected[i].condition)
            np.testing.assert_array_equal(found.image, expected[i].image)
            np.testing.assert_array_equal(found.labels, expected[i].labels)
            np.testing.assert_array_equal(drive.labels(i), expected[i].labels)
    assert len(list((tmp_path / 'dgss/synthetic').glob('*.zip'))) == 1
    other = Synthetic(**{**small, 'conditions': ('night',)})
    assert not np.array_equal(other[0].image, expected[0].image)


def test_a_long_drive_is_rendered_in_parts(small: dict[str, object]) -> None:
    drive = Synthetic(**{**small, 'frames': 30})
    assert [drive._set_of(i) for i in (0, 11, 12, 29)] == [
        range(12), range(12), range(12, 24), range(24, 30),
    ]  # fmt: skip
    wide = Synthetic((1, 2), 12, width=3840, height=2160)
    assert [wide._set_of(i) for i in (0, 13)] == [range(2), range(12, 14)]


def test_a_dataset_beyond_the_limit_is_not_kept(
    small: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('DGSS_SYNTHETIC_CACHE_GIB', '1e-6')
    drive = Synthetic(**small)
    assert drive[0].image.shape == (36, 64, 3)
    assert drive.labels(0).shape == (36, 64)
    assert not list(tmp_path.iterdir())


def test_the_datasets_of_a_process_know_of_each_other(
    small: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('DGSS_SYNTHETIC_CACHE_GIB', str(1.5 * 3 * 4 * 64 * 36 / 2**30))
    first, second = Synthetic(**small), Synthetic(**{**small, 'seeds': (5,)})
    for drive in (first, second):
        assert drive[0].image.shape == (36, 64, 3)
    assert 'take more than' in first.rendered.stopped
    assert second.rendered is first.rendered
    assert len(first.rendered.sets()) == 1


@pytest.mark.parametrize('text', ['-1', 'nan', 'inf', '1e308', 'null', '4 GiB', 'true', '0x4'])
def test_a_wrong_limit_is_one_sentence(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('DGSS_SYNTHETIC_CACHE_GIB', text)
    with pytest.raises(DgssError, match=f"DGSS_SYNTHETIC_CACHE_GIB is '{text}': give the GiB"):
        Synthetic((1,), 1)


def test_the_classes_are_counted_with_each_set_rendered_once(
    small: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statistics = pytest.importorskip('dgss_core.training.augmentation.statistics')
    drive = Synthetic(**{**small, 'seeds': (4, 5), 'frames': 12, 'conditions': ('day',)})
    labels, whole = drive.labels, drive._render_all
    asked: dict[int, list[int]] = {}
    rendered_sets: list[range] = []
    monkeypatch.setattr(
        drive, '_render_all', lambda indices: rendered_sets.append(indices) or whole(indices)
    )

    def logged(index: int) -> np.ndarray:
        asked.setdefault(threading.get_ident(), []).append(index)
        return labels(index)

    monkeypatch.setattr(drive, 'labels', logged)
    found = statistics.class_statistics(drive, tmp_path / 'statistics').counts
    assert sorted(rendered_sets, key=min) == [range(12), range(12, 24)]
    for indices in asked.values():  # No two threads share a set.
        assert len(indices) % 12 == 0
    expected = [np.bincount(labels(i).ravel(), minlength=256)[:19] for i in range(24)]
    np.testing.assert_array_equal(found, expected)
