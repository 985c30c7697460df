"""The store gives back what was put, belongs to one predictor, and survives a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dgss_core.errors import DgssError
from dgss_core.evaluation.flicker import FlickerCounts
from dgss_core.evaluation.store import THUMBNAIL, Predicted, PredictionStore
from dgss_core.images.compressed import PLANE, decode_compressed

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 1200, 3), np.uint8)


def answer(seed: int = 0, confidence: bool = True) -> Predicted:
    planes = np.random.default_rng(seed).integers(0, 19, (2, 20, 30)).astype(np.uint8)
    return Predicted(
        planes[0], planes[1] if confidence else None, (90, 1200), 0.25, {'image': [0.5, 1.0]}
    )


def test_a_frame_comes_back_as_it_was_put(tmp_path: Path) -> None:
    with PredictionStore(tmp_path / 'a' / 'p.sqlite', 'model on frames') as store:
        store.put('drive/1', IMAGE, answer())
        store.put('drive/2', IMAGE, answer(confidence=False))
        assert store.names() == {'drive/1', 'drive/2'}
        found = store.get('drive/1')
        assert found.certainty == pytest.approx(answer().confidence.mean() / 255)
        assert found.seconds == 0.25
        back = found.unpacked()
        np.testing.assert_array_equal(back.mask, answer().mask)
        np.testing.assert_array_equal(back.confidence, answer().confidence)
        assert (back.size, back.descriptors) == ((90, 1200), {'image': [0.5, 1.0]})
        assert decode_compressed(found.thumbnail).shape == (36, THUMBNAIL, 3)
        alone = store.get('drive/2')
        assert alone.certainty is None
        assert alone.unpacked().confidence is None
        with pytest.raises(KeyError):
            store.get('drive/3')


def test_masks_are_enlarged_by_the_nearest_pixel() -> None:
    mask = np.array([[0, 1], [2, 3]], np.uint8)
    large = Predicted(mask, None, (4, 4)).at_size(4, 4)
    np.testing.assert_array_equal(large.mask, np.kron(mask, np.ones((2, 2), np.uint8)))
    assert (large.confidence == 255).all()


def test_a_region_is_kept_and_alone_counts(tmp_path: Path) -> None:
    whole = answer()
    assert whole.confidence is not None
    part = replace(whole, size=(40, 60), region=(10, 4, 20, 30))
    with PredictionStore(tmp_path / 'p.sqlite', 'one') as store:
        store.put('1', IMAGE, part)
        found = store.get('1')
    inside = whole.confidence[2:17, 5:15]
    assert found.certainty == pytest.approx(inside.mean() / 255)
    assert found.unpacked().region == (10, 4, 20, 30)
    kept = part.without_outside(np.zeros((80, 120), np.uint8))
    assert (kept[8:68, 20:60] == 0).all()
    assert (kept == 0).sum() == 60 * 40
    with pytest.raises(DgssError, match='does not lie within the 30x20 image'):
        replace(part, size=(20, 30)).inside(whole.mask)


def test_a_store_of_an_earlier_release_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / 'p.sqlite'
    with PredictionStore(path, 'one') as store:
        store.put('1', IMAGE, answer())
    with sqlite3.connect(path) as old:
        old.execute('ALTER TABLE frames DROP COLUMN region')
    with PredictionStore(path, 'one') as store:
        store.put('2', IMAGE, answer())
        assert [store.get(name).region for name in ('1', '2')] == [None, None]


def test_predictions_of_another_predictor_are_refused(tmp_path: Path) -> None:
    PredictionStore(tmp_path / 'p.sqlite', 'one').__exit__(None, None, None)
    with pytest.raises(DgssError, match="holds predictions of 'one'"):
        PredictionStore(tmp_path / 'p.sqlite', 'two')


@pytest.mark.parametrize('what', ['text', 'other database', 'a view', 'cut'])
def test_what_is_no_store_is_refused_and_kept(tmp_path: Path, what: str) -> None:
    path = tmp_path / 'p.sqlite'
    if what == 'text':
        path.write_text('my notes, which are long enough to be no header of a database ' * 20)
    elif what == 'other database':
        with sqlite3.connect(path) as other:
            other.execute('CREATE TABLE mine (x)')
    elif what == 'a view':
        PredictionStore(path, 'one').__exit__(None, None, None)
        with sqlite3.connect(path) as store:
            store.execute('DROP TABLE frames')
            endless = (
                'WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n'
            )
            store.execute(f'CREATE VIEW frames(name) AS {endless}')
    else:
        with PredictionStore(path, 'one') as store:
            store.put('1', IMAGE, answer())
        path.write_bytes(path.read_bytes()[:5000])
    before = path.read_bytes()
    with (
        pytest.raises(DgssError, match='name another folder'),
        PredictionStore(path, 'one') as store,
    ):
        store.get('1')
    assert path.read_bytes() == before


WRITER = """
import sys, numpy as np
from pathlib import Path
from dgss_core.evaluation.store import Predicted, PredictionStore
image = np.zeros((48, 64, 3), np.uint8)
with PredictionStore(Path(sys.argv[1]), 'model') as store:
    for number in range(100000):
        store.put(str(number), image, Predicted(image[..., 0] + number % 19, None, (48, 64)))
        print(number, flush=True)
"""


def test_a_killed_writer_leaves_whole_frames(tmp_path: Path) -> None:
    path = tmp_path / 'p.sqlite'
    writer = subprocess.Popen(
        [sys.executable, '-c', WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    while int(writer.stdout.readline()) < 20:
        pass
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    with PredictionStore(path, 'model') as store:
        names = store.names()
        assert {str(number) for number in range(20)} <= names
        for name in names:
            assert (store.get(name).unpacked().mask == int(name) % 19).all()
        store.put('more', IMAGE, answer())


@pytest.mark.skipif(not PLANE, reason='OpenCV before 4.12 packs masks less')
def test_labels_and_masks_are_small(tmp_path: Path) -> None:
    """A street at 512x1024 takes some 20 KB."""
    mask = cv2.resize(answer().mask, (1024, 512), interpolation=cv2.INTER_NEAREST)
    with PredictionStore(tmp_path / 'p.sqlite', 'one') as store:
        store.put('1', IMAGE, Predicted(mask, mask, (512, 1024)))
        assert len(store.get('1').mask) < 20_000


MAKE = """
import sys, time
from pathlib import Path
from dgss_core.evaluation.store import PredictionStore
time.sleep(max(0, float(sys.argv[2]) - time.time()))
with PredictionStore(Path(sys.argv[1]), 'one') as store:
    print(len(store.names()))
"""


def test_processes_may_make_a_store_at_the_same_time(tmp_path: Path) -> None:
    start = time.time() + 4
    command = [sys.executable, '-c', MAKE, str(tmp_path / 'store.sqlite'), str(start)]
    made = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(process.communicate()[0], process.returncode) for process in made] == [('0\n', 0)] * 4


def test_a_full_disk_is_no_reason_to_remove_predictions(tmp_path: Path) -> None:
    with PredictionStore(tmp_path / 'p.sqlite', 'model') as store:
        store.put('1', IMAGE, answer())
        store._database.execute('PRAGMA max_page_count = 1')
        with pytest.raises(DgssError, match='is full; make room') as told:
            store.put('2', IMAGE, answer())
        assert 'remove' not in str(told.value)
        assert store.names() == {'1'}


@pytest.mark.parametrize(
    'change',
    [
        'UPDATE frames SET mask = NULL',
        "UPDATE frames SET certainty = 'abc'",
        "UPDATE frames SET descriptors = '[1]'",
        "UPDATE flicker SET counts = '[1]'",
        """UPDATE flicker SET counts = '{"x": [1]}'""",
    ],
)
def test_a_store_of_other_values_is_removed(change: str, tmp_path: Path) -> None:
    with PredictionStore(tmp_path / 'p.sqlite', 'model') as store:
        store.put('1', IMAGE, answer())
        store.put_flicker({'1': {1: FlickerCounts(1, 2, 3)}})
    with closing(sqlite3.connect(tmp_path / 'p.sqlite')) as database, database:
        database.execute(change)
    with PredictionStore(tmp_path / 'p.sqlite', 'model') as store:
        read = store.flicker if 'flicker' in change else lambda: store.get('1').unpacked()
        with pytest.raises(DgssError, match='is damaged; remove it to predict its frames again'):
            read()


def test_a_damaged_store_is_removed(tmp_path: Path) -> None:
    (tmp_path / 'p.sqlite').write_bytes(b'no database' * 1000)
    with pytest.raises(DgssError, match='remove it to predict its frames again'):
        PredictionStore(tmp_path / 'p.sqlite', 'model')
