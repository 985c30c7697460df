"""An engine is used only if its answers on this machine are those of the reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_networks import add_higher, write_classifier

from dgss_core.cli import main
from dgss_core.errors import DgssError
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.bundle import (
    CONFIDENCE,
    MASK,
    STATISTICS,
    Bundle,
    ReferenceFrame,
    open_bundle,
)
from dgss_core.runtime.bundle.writing import write_bundle
from dgss_core.runtime.engines import RefusedError
from dgss_core.runtime.engines.cache import EngineCache
from dgss_core.runtime.engines.proof import Verification, _checksum, report_path
from dgss_core.runtime.engines.verify import GATES, SURE, Outcome, compare


class Load:
    """Loads ONNX Runtime with a cache of its own and collects the reported lines."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.lines = EngineCache(folder), []

    def __call__(self, bundle: Bundle, **options: object):
        return load_backend(
            bundle,
            'onnxruntime',
            cache_dir=self.cache.folder,
            report=self.lines.append,
            **options,
        )


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return Load(tmp_path / 'cache')


def test_a_correct_engine_is_verified_once(sound: Bundle, load: Load) -> None:
    backend = load(sound)
    path = report_path(backend, load.cache)
    report = json.loads(path.read_text())
    assert report['verdict'] == 'passed'
    assert report['engine_sha256'] == sound.fingerprint
    assert report['key']['device'] in json.dumps(report['machine'])
    assert set(report['conditions']) == {'day', 'night'}
    assert report['total']['agreement'] == 1
    assert 'onnxruntime' in report['key']['backend']
    written = path.stat().st_mtime_ns
    load(sound)
    assert path.stat().st_mtime_ns == written


def test_the_report_comes_back_as_it_was_written(sound: Bundle, load: Load) -> None:
    path = report_path(load(sound), load.cache)
    data = json.loads(path.read_text())
    assert list(data) == [
        *('verdict', 'reasons', 'when', 'bundle', 'backend', 'engine_sha256', 'key', 'machine'),
        *('versions', 'reference', 'frames', 'gates', 'conditions', 'total', 'checksum'),
    ]
    report = Verification.from_dict(data)
    assert (report.verdict, report.gates) == ('passed', GATES['fp16'])
    assert f'{json.dumps(report.to_dict(), indent=2)}\n' == path.read_text()
    with pytest.raises(DgssError, match='checksum is wrong'):
        Verification.from_dict(data | {'total': {}})


def test_a_wrong_engine_is_refused_also_the_next_time(broken: Bundle, load: Load) -> None:
    for _ in range(2):
        with pytest.raises(RefusedError, match='have its class') as error:
            load(broken)
    assert 'dgss engine verify' in str(error.value)
    assert len(list(load.cache.folder.glob('*/verified.json'))) == 1
    images = broken.frames()[0].image[None]
    assert load(broken, allow_unverified=True).run(images)[MASK].any()


@pytest.mark.parametrize(
    'change',
    [
        lambda report: report | {'reasons': ['it was tired']},
        lambda report: signed(report | {'reasons': ['it was tired'], 'engine_sha256': '0' * 64}),
        lambda report: signed(report | {'reasons': 'it was tired'}),
        lambda report: signed(report | {'reasons': [3]}),
        lambda report: {key: report[key] for key in report if key != 'total'},
        lambda report: [report],
    ],
)
def test_an_edited_report_does_not_count(
    sound: Bundle, load: Load, change: Callable[[dict], object]
) -> None:
    """The engine is verified again, passes, and the report is written anew."""
    path = report_path(load(sound), load.cache)
    text = json.dumps(change(json.loads(path.read_text())))
    path.write_text(text)
    load(sound)
    assert path.read_text() != text
    assert json.loads(path.read_text())['reasons'] == []


def other_frames(bundle: Bundle, folder: Path) -> Bundle:
    """The network of `bundle` with reference frames that it does not answer like."""
    frames = [replace(frame, mask=(frame.mask + 1) % 19) for frame in bundle.frames()]
    return write_bundle(folder, bundle.onnx_path, bundle.manifest, frames=frames)


def test_a_report_on_other_reference_frames_does_not_count(
    tmp_path: Path, sound: Bundle, load: Load
) -> None:
    """Neither for nor against the same network in another bundle."""
    other = other_frames(sound, tmp_path / 'other')
    assert other.fingerprint == sound.fingerprint
    load(sound)
    with pytest.raises(RefusedError, match='have its class'):
        load(other)
    assert load(sound).identity.endswith('fp16')


def test_a_report_on_frames_of_the_user_counts_for_all_bundles(
    tmp_path: Path, sound: Bundle, load: Load
) -> None:
    other = other_frames(sound, tmp_path / 'other')
    image = tmp_path / 'frame.png'
    image.write_bytes((sound.folder / 'frames/day_0.png').read_bytes())
    common = ('--backend', 'onnxruntime', '--cache-dir', load.cache.folder, '--frames', image)
    assert main(['engine', 'verify', '--bundle', *map(str, (sound.folder, *common))]) == 0
    assert load(other).identity.endswith('fp16')


def signed(report: dict) -> dict:
    return report | {'checksum': _checksum(report)}


def test_nan_is_caught_and_named(tmp_path: Path, load: Load) -> None:
    bundle = write_classifier(tmp_path / 'nan', precision='fp16', nan=True)
    with pytest.raises(
        RefusedError, match='confidence is 0, as a network gives that computes NaN'
    ):
        load(bundle)


def test_the_reference_needs_no_proof_and_no_frames(tmp_path: Path, load: Load) -> None:
    assert load(write_classifier(tmp_path / 'plain', frames=False)).key is None
    assert not load.cache.folder.exists()


def test_without_frames_nothing_can_be_proven(tmp_path: Path, load: Load) -> None:
    bundle = write_classifier(tmp_path / 'bare', precision='int8', frames=False)
    with pytest.raises(DgssError, match='has no reference frames to verify it with'):
        load(bundle)
    load(bundle, allow_unverified=True)


def test_a_higher_precision_replaces_it(tmp_path: Path, broken: Bundle, load: Load) -> None:
    broken = add_higher(broken, 'bf16', noise=0.2)
    broken = add_higher(broken, 'fp32')
    backend = load(broken)
    assert backend.identity.endswith('fp32')
    refused = [line for line in load.lines if line.endswith('Trying a higher precision.')]
    assert ['fp16' in refused[0], 'bf16' in refused[1], len(refused)] == [True, True, 2]
    frame = broken.frames()[0]
    assert np.array_equal(backend.run(frame.image[None])[MASK][0], frame.mask)


def test_openvino_computes_in_fp32_where_bf16_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('openvino')
    from dgss_core.runtime.backends import open_vino

    if 'bf16' not in open_vino.precisions():
        pytest.skip('this processor has no bf16')
    monkeypatch.setitem(GATES, 'bf16', replace(GATES['bf16'], confidence=-1))
    bundle, lines = write_classifier(tmp_path / 'plain'), []
    backend = load_backend(bundle, 'openvino', cache_dir=tmp_path / 'cache', report=lines.append)
    assert backend.identity.endswith('fp32')
    assert 'CPU, bf16 is refused' in lines[0]


def test_a_proof_that_cannot_be_stored_is_repeated(tmp_path: Path, sound: Bundle) -> None:
    (tmp_path / 'file').touch()
    load = Load(tmp_path / 'file' / 'cache')
    load(sound)
    assert 'The verification cannot be kept in' in load.lines[0]


class Answers:
    """A backend that returns the answers of the frames after a change."""

    def __init__(self, frames: list[ReferenceFrame], change: Callable[[dict], None]) -> None:
        self.frames, self.change = frames, change

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        (frame,) = (frame for frame in self.frames if np.array_equal(frame.image, images[0]))
        outputs = {MASK: frame.mask[None].copy(), CONFIDENCE: frame.confidence[None].copy()}
        self.change(outputs)
        return outputs


def outcome(tmp_path: Path, change: Callable[[dict], None], precision: str = 'fp16') -> Outcome:
    bundle = write_classifier(tmp_path / 'whole')
    frames = bundle.frames()
    pairs = [(frame, None) for frame in frames]
    return compare(Answers(frames, change), pairs, bundle.labels, GATES[precision])


def test_equal_answers_pass(tmp_path: Path) -> None:
    found = outcome(tmp_path, lambda outputs: None, 'fp32')
    assert found.passed
    assert found.total['worst_frame'] == 1


def test_a_rare_class_that_vanishes_is_noticed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr('dgss_core.runtime.engines.verify.COUNTED_PIXELS', 5)
    frames = write_classifier(tmp_path / 'same').frames()
    sure = np.concatenate([frame.mask[frame.confidence >= SURE] for frame in frames])
    ids, counts = np.unique(sure, return_counts=True)
    rare = ids[np.argmin(np.where(counts < 5, counts.max(), counts))]

    def drop(outputs: dict) -> None:
        outputs[MASK][outputs[MASK] == rare] = ids[np.argmax(counts)]

    found = outcome(tmp_path, drop, 'int8')
    name = open_bundle(tmp_path / 'same').labels.names[rare]
    assert any(f'{name} overlaps with the reference by 0.0%' in why for why in found.reasons)


def test_a_confidence_that_is_off_is_noticed(tmp_path: Path) -> None:
    def lower(outputs: dict) -> None:
        outputs[CONFIDENCE] = outputs[CONFIDENCE] // 2

    assert any('confidence is off by' in why for why in outcome(tmp_path, lower).reasons)


def test_ids_that_no_class_has_count_as_wrong(tmp_path: Path) -> None:
    found = outcome(tmp_path, lambda outputs: outputs[MASK].fill(99))
    assert found.total['agreement'] == 0
    assert not found.passed


def test_a_float_output_with_nan_is_named(tmp_path: Path) -> None:
    def poison(outputs: dict) -> None:
        outputs[STATISTICS] = np.full((1, 8), np.nan, np.float32)

    assert 'statistics holds values that are not numbers' in outcome(tmp_path, poison).reasons[0]


def test_labels_measure_what_is_lost(tmp_path: Path) -> None:
    bundle = write_classifier(tmp_path / 'whole')
    frames = bundle.frames()

    def blur(outputs: dict) -> None:
        outputs[MASK][0, :2] = 18

    pairs = [(frame, frame.mask) for frame in frames]
    found = compare(Answers(frames, blur), pairs, bundle.labels, GATES['int8'])
    assert found.total['reference_miou'] == 1
    assert found.total['miou_drop'] == pytest.approx(100 * (1 - found.total['miou']))
    assert any('mIoU drops by' in why for why in found.reasons)


def test_the_command_verifies_on_the_frames_of_the_bundle(
    tmp_path: Path, sound: Bundle, capsys: pytest.CaptureFixture
) -> None:
    common = ['--backend', 'onnxruntime', '--cache_dir', str(tmp_path / 'cache')]
    assert main(['engine', 'verify', '--bundle', str(sound.folder), *common]) == 0
    captured = capsys.readouterr()
    assert 'passed' in captured.out
    assert 'recorded in the bundle' in captured.out
    labels = ['--labels', str(tmp_path)]
    assert main(['engine', 'verify', '--bundle', str(sound.folder), *common, *labels]) == 2
    assert '--labels needs --frames' in capsys.readouterr().err


def test_a_report_with_older_gates_does_not_count(sound: Bundle, load: Load, monkeypatch):
    path = report_path(load(sound), load.cache)
    assert json.loads(path.read_text())['gates']['agreement'] == 0.995
    monkeypatch.setitem(GATES, 'fp16', replace(GATES['fp16'], agreement=0.99))
    load(sound)
    assert json.loads(path.read_text())['gates']['agreement'] == 0.99
