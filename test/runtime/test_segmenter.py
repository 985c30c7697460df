from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from probe import write_probe_bundle
from small_networks import write_classifier

from dgss_core.datasets import Synthetic
from dgss_core.errors import DgssError
from dgss_core.evaluation.evaluate import evaluate
from dgss_core.runtime.backends.null import NullBackend
from dgss_core.runtime.bundle import Bundle, open_bundle
from dgss_core.runtime.segmenter import Segmenter


@pytest.mark.parametrize('size', [(48, 64), (96, 128), (31, 47), (1, 1), (200, 20)])
def test_the_mask_has_the_size_of_the_image(probe_bundle: Bundle, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), (160, 70, 3), np.uint8)
    prediction = Segmenter(probe_bundle)(image)
    assert prediction.mask.shape == prediction.confidence.shape == size
    assert prediction.mask.dtype == prediction.confidence.dtype == np.uint8
    assert set(prediction.mask.flat) == {10}
    assert set(prediction.confidence.flat) == {70}


def test_the_mask_is_aligned_with_the_image(probe_bundle: Bundle) -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    image[:, 160:, 0] = 80
    mask = Segmenter(probe_bundle)(image).mask
    assert set(mask[:, :150].flat) == {0}
    assert set(mask[:, 170:].flat) == {5}


@pytest.mark.parametrize(
    ('to_rgb', 'channels'),
    [(cv2.COLOR_BGR2RGB, [2, 1, 0]), (cv2.COLOR_BGRA2RGB, [2, 1, 0, 1]), (cv2.COLOR_GRAY2RGB, 0)],
)
def test_other_channels_are_prepared_as_rgb(probe_bundle: Bundle, to_rgb: int, channels) -> None:
    image = np.random.default_rng(0).integers(0, 256, (97, 131, 3), np.uint8)
    if channels == 0:
        image[:] = image[..., :1]
    segmenter = Segmenter(probe_bundle)
    other = np.ascontiguousarray(image[..., channels])
    np.testing.assert_array_equal(segmenter.prepare(other, to_rgb), segmenter.prepare(image))


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(probe_bundle: Bundle, image: np.ndarray) -> None:
    with pytest.raises(DgssError, match='RGB uint8'):
        Segmenter(probe_bundle)(image)


def test_several_images_are_predicted_in_one_call(probe_bundle: Bundle) -> None:
    images = [np.full((*size, 3), (160, 70, 3), np.uint8) for size in ((31, 47), (96, 128))]
    with Segmenter(probe_bundle) as segmenter:
        found = segmenter.predict(images)
        assert [prediction.mask.shape for prediction in found] == [(31, 47), (96, 128)]
        assert set(found[1].mask.flat) == {10}
        prepared = segmenter.predict_prepared([segmenter.prepare(image) for image in images])
        assert [prediction.mask.shape for prediction in prepared] == [(48, 64)] * 2
        assert segmenter.predict([]) == []


@pytest.mark.parametrize(
    ('image', 'found'),
    [
        (np.zeros((48, 64), np.uint8), r'uint8 \(48, 64\)'),
        (np.zeros((64, 48, 3), np.uint8), r'uint8 \(64, 48, 3\)'),
        (np.zeros((48, 64, 3), np.float32), 'float32'),
        ('drive.png', 'str'),
    ],
)
def test_images_that_were_not_prepared_are_refused(
    probe_bundle: Bundle, image: object, found: str
) -> None:
    right = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(DgssError, match=rf'uint8 \(48, 64, 3\), not {found}.*Segmenter.prepare'):
        Segmenter(probe_bundle).predict_prepared([right, image])


def test_an_id_outside_the_label_set_is_refused(tmp_path: Path) -> None:
    bundle = open_bundle(write_probe_bundle(tmp_path / 'high', darkest=17))
    dark, bright = (np.full((48, 64, 3), value, np.uint8) for value in (16, 250))
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        assert set(segmenter(dark).mask.flat) == {18}
        with pytest.raises(DgssError, match=r'high@.* gives the id 32 in ONNX .* ends with 18;'):
            segmenter.predict([dark, bright])


def test_pixels_without_a_class_are_no_unknown_ids(tmp_path: Path) -> None:
    bundle = open_bundle(write_probe_bundle(tmp_path / 'none', darkest=240))
    image = np.full((48, 64, 3), 255, np.uint8)
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        assert set(segmenter(image).mask.flat) == {255}
        image[0] = 239
        with pytest.raises(DgssError, match='gives the id 254'):
            segmenter(image)


def test_a_network_that_fails_is_one_sentence(tmp_path: Path) -> None:
    bundle = open_bundle(write_probe_bundle(tmp_path / 'brittle', brightest=200))
    image = np.full((48, 64, 3), 201, np.uint8)
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        with pytest.raises(DgssError, match=r'^brittle@.* failed while it ran in ONNX') as error:
            segmenter(image)
        assert '\n' not in str(error.value)
        assert set(segmenter(image - 1).mask.flat) == {200 // 16}


def test_a_segmenter_closes_its_backend_once(probe_bundle: Bundle) -> None:
    closed: list[str] = []

    class Counted(NullBackend):
        def close(self) -> None:
            closed.append(self.name)

    image = np.zeros((48, 64, 3), np.uint8)
    with Segmenter(probe_bundle, Counted('null')) as segmenter:
        assert segmenter(image).mask.shape == (48, 64)
    segmenter.close()
    assert closed == ['null']
    with pytest.raises(RuntimeError, match=r'probe@.* was closed and cannot run'):
        segmenter(image)


def test_the_options_of_load_backend_are_passed_on(tmp_path: Path) -> None:
    bundle, lines = write_classifier(tmp_path / 'low', precision='fp16', frames=False), []
    with pytest.raises(DgssError, match='has no reference frames'):
        Segmenter(bundle, 'onnxruntime', cache_dir=tmp_path)
    options = {'cache_dir': tmp_path, 'allow_unverified': True, 'report': lines.append}
    with Segmenter(bundle, 'onnxruntime', **options):
        assert lines[-1].startswith(f'Runs {bundle.identity} on ONNX Runtime')


def test_the_embedded_bundle_segments_unseen_drives_in_every_condition() -> None:
    # Random weights reach about .02; the trained network is far above in every condition.
    matrix = evaluate(Segmenter(open_bundle()), Synthetic(seeds=range(2), frames=6, step=40))
    assert matrix.miou > 0.4


def test_segmenting_does_not_import_torch() -> None:
    code = (
        'import sys, numpy as np\n'
        'from dgss_core.runtime.bundle import open_bundle\n'
        'from dgss_core.runtime.segmenter import Segmenter\n'
        'Segmenter(open_bundle())(np.zeros((36, 64, 3), np.uint8))\n'
        'print([name for name in ("torch", "rclpy", "onnx") if name in sys.modules])'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout.strip() == '[]', result.stderr
