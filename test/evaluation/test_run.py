"""An evaluation is resumed frame by frame, and measures what needs no labels."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from streets import blocks, film, picture

from dgss_core.bags import write_bag
from dgss_core.cli import main
from dgss_core.evaluation.assembly import Settings
from dgss_core.evaluation.bag_frames import BagFrames
from dgss_core.evaluation.folder import EvaluationFolder
from dgss_core.evaluation.frames import FrameKey, FrameSet
from dgss_core.evaluation.run import run
from dgss_core.evaluation.selection import choose
from dgss_core.evaluation.store import Predicted
from dgss_core.images.frames import FIRST_STAMP_NS, Frame, read_image
from dgss_core.labels import LabelSet
from dgss_core.runtime.bundle import Bundle

STREET = LabelSet.load('cityscapes19')


class Counting:
    """Answers by the red channel; fails at the frame `fails_at` as Ctrl-C does."""

    identity, labels, lanes = 'counting', STREET, 1

    def __init__(self, fails_at: int = 1000, wrong: int = 0) -> None:
        self.asked: list[str] = []
        self._fails_at, self._wrong = fails_at, wrong

    def begin(self, frames: FrameSet) -> None:
        pass

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return image

    def predict(self, key: FrameKey, prepared: np.ndarray) -> Predicted:
        if len(self.asked) == self._fails_at:
            raise KeyboardInterrupt
        self.asked.append(key.name)
        mask = prepared[..., 0] // 16
        mask[: self._wrong] = 18
        return Predicted(mask, prepared[..., 1], prepared.shape[:2])


def drive(path: Path, frames: Iterable[Frame]) -> BagFrames:
    write_bag(path, frames)
    return BagFrames(path, STREET)


def test_an_interrupted_run_predicts_only_the_rest(tmp_path: Path) -> None:
    frames = drive(tmp_path / 'drive', film(8))
    folder = EvaluationFolder(tmp_path / 'out', overwrite=True, inputs=[])
    first, second = Counting(fails_at=3), Counting()
    with pytest.raises(KeyboardInterrupt):
        run([frames], first, folder, STREET, Settings(resamples=10))
    done = run([frames], second, folder, STREET, Settings(resamples=10))
    assert first.asked + second.asked == [key.name for key in frames.keys]
    assert done.results['conditions']['all']['miou'] == 1
    third = Counting()
    run([frames], third, folder, STREET, Settings(resamples=10))
    assert third.asked == []


def test_a_mask_that_flickers_is_told_from_one_that_does_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 256, (24, 32, 3), np.uint8), (128, 96))

    class Flickering(Counting):
        identity = 'flickering'

        def predict(self, key: FrameKey, prepared: np.ndarray) -> Predicted:
            mask = np.full(prepared.shape[:2], int(key.name) % 2, np.uint8)
            return Predicted(mask, None, prepared.shape[:2])

    class Still(Flickering):
        identity = 'still'

        def predict(self, key: FrameKey, prepared: np.ndarray) -> Predicted:
            return Predicted(prepared[..., 0] // 128, None, prepared.shape[:2])

    frames = [Frame(f'{i:06d}', ground, FIRST_STAMP_NS + i * 10**8) for i in range(6)]
    source = drive(tmp_path / 'drive', frames)
    found = {}
    for predictor in (Flickering(), Still()):
        folder = EvaluationFolder(tmp_path / 'out', overwrite=True, inputs=[])
        done = run([source], predictor, folder, STREET, Settings(resamples=10))
        found[predictor.identity] = done.results['conditions']['all']['flicker']
        assert done.results['conditions']['all']['miou'] is None
    assert found['flickering']['1']['value'] == 1
    assert found['flickering']['2']['value'] == 0
    assert found['still']['1']['value'] == 0
    assert found['still']['5']['pairs'] == 1
    again = run([source], Still(), folder, STREET, Settings(resamples=10))  # kept in the store
    assert again.results['conditions']['all']['flicker'] == found['still']


def test_agreement_is_the_share_of_equal_pixels(tmp_path: Path) -> None:
    frames = drive(tmp_path / 'drive', film(3))
    folder = EvaluationFolder(tmp_path / 'out', overwrite=True, inputs=[])
    other = Counting(wrong=12)
    other.identity = 'wrong in a quarter'
    done = run([frames], Counting(), folder, STREET, Settings(resamples=10), against=other)
    assert [frame.agreement for frame in done.frames] == [0.75] * 3
    assert done.results['conditions']['all']['agreement'] == 0.75


def test_frames_to_label_are_unsure_and_unlike_each_other() -> None:
    features = [np.full(4, value) for value in (0.1, 0.101, 0.5, 0.9, 0.9)]
    assert choose(features, [0.9, 0.2, 0.9, 0.9, 0.5], 5) == [1, 4, 2]
    assert choose(features, [0.9, 0.2, 0.9, 0.9, 0.5], 1) == [1]
    assert choose([], [], 3) == []


def test_the_folder_to_label_holds_images_and_drafts(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [
        Frame(f'{i:06d}', picture(blocks(i), confidence=40 * i), FIRST_STAMP_NS + i * 10**8)
        for i in range(5)
    ]
    write_bag(tmp_path / 'drive', frames)
    arguments = [
        'evaluate', '--bag', tmp_path / 'drive', '--bundle', probe_bundle.folder, '--backend',
        'onnxruntime', '--output', tmp_path / 'out', '--label-next', 2, '--overwrite',
    ]  # fmt: skip
    for _ in range(2):  # The second run replaces the folder of the first.
        assert main([*map(str, arguments)]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert '5 predicted frames without labels; of all frames: mean confidence ' in out
    assert f'2 frames to label next: {tmp_path / "out" / "label_next"}' in out
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert results['label_next'][0] == '000000'
    assert len(results['label_next']) == 2
    folder = tmp_path / 'out' / 'label_next'
    for name in results['label_next']:
        draft = read_image(folder / 'SegmentationClass' / f'{name}.png')
        np.testing.assert_array_equal(draft, STREET.colors[blocks(int(name))])
        image = read_image(folder / 'JPEGImages' / f'{name}.jpg')
        assert np.abs(image.astype(int) - frames[int(name)].image).mean() < 6
    assert 'road:128,64,128::' in (folder / 'labelmap.txt').read_text()


def test_frames_to_label_have_no_labels_where_there_are_such(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [
        replace(
            frame, image=picture(frame.labels, 30 + 40 * i), labels=frame.labels if i < 3 else None
        )
        for i, frame in enumerate(film(6))
    ]
    write_bag(tmp_path / 'drive', frames)
    arguments = [
        'evaluate', '--bag', tmp_path / 'drive', '--bundle', probe_bundle.folder, '--backend',
        'onnxruntime', '--output', tmp_path / 'out', '--label-next', 2,
    ]  # fmt: skip
    assert main([*map(str, arguments)]) == 1, capsys.readouterr().err
    chosen = json.loads((tmp_path / 'out' / 'results.json').read_text())['label_next']
    # The first three are less sure, and have labels.
    assert (len(chosen), chosen[0]) == (2, '000003')
    assert min(chosen) > '000002'


def test_a_folder_to_label_that_cannot_be_written_is_named(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file system refuses a name of more than 255 bytes, as a full one refuses any file."""
    name = 'x' * 125
    for kind, pixels in (('images', picture(blocks(0))), ('labels', blocks(0))):
        file = tmp_path / 'data' / name / kind / f'{name}123456789.png'
        file.parent.mkdir(parents=True)
        cv2.imwrite(str(file), pixels)
    street = tmp_path / 'street.yaml'
    street.write_text(
        "images: '{drive}/images/{name}.png'\nlabels: '{drive}/labels/{name}.png'\n"
        "frame_name: '{drive}/{name}'\nlabel_set: cityscapes19\n"
    )
    arguments = [
        'evaluate', '--data', street, '--root', tmp_path / 'data', '--bundle', probe_bundle.folder,
        '--backend', 'onnxruntime', '--output', tmp_path / 'out', '--label-next', 1,
    ]  # fmt: skip
    assert main([*map(str, arguments)]) == 1
    assert 'label_next cannot be written (' in capsys.readouterr().err
    (problem,) = json.loads((tmp_path / 'out' / 'results.json').read_text())['problems']
    assert 'label_next cannot be written (' in problem['what']
