"""The contract of every backend, and how one is chosen."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from small_networks import write_classifier

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import Backend, TimedBackend
from dgss_core.runtime.backends import check_backend, load_backend
from dgss_core.runtime.backends.names import parse_torch
from dgss_core.runtime.backends.onnx_runtime import CPU, OnnxRuntimeBackend
from dgss_core.runtime.bundle import CONFIDENCE, MASK, STATISTICS, Bundle, open_bundle
from dgss_core.runtime.engines.cache import REPORT, EngineCache

GPU = [pytest.mark.gpu]
NAMES = [
    'onnxruntime',
    pytest.param('openvino', marks=pytest.mark.skipif(not find_spec('openvino'), reason='absent')),
    *(
        pytest.param(
            name, marks=[*GPU, pytest.mark.skipif(not find_spec(name), reason=f'{name} is absent')]
        )
        for name in ('tensorrt', 'tensorrt_rtx')
    ),
]


@pytest.fixture(scope='module')
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_classifier(tmp_path_factory.mktemp('backends') / 'classifier')


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest, classifier: Bundle, tmp_path: Path) -> Backend:
    return load_backend(classifier, request.param, threads=1, cache_dir=tmp_path)


def images(count: int, bundle: Bundle) -> np.ndarray:
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, bundle.height, bundle.width, 3), np.uint8)


def test_every_output_is_returned_by_name_for_any_number_of_images(
    backend: Backend, classifier: Bundle
) -> None:
    reference = OnnxRuntimeBackend(classifier, 1, (CPU,))
    for count in (1, 3, 6, 3, 3, 3):
        found, right = (each.run(images(count, classifier)) for each in (backend, reference))
        assert set(found) == {MASK, CONFIDENCE, STATISTICS}
        assert {name: (a.dtype, a.shape) for name, a in found.items()} == {
            name: (a.dtype, a.shape) for name, a in right.items()
        }
        assert (found[MASK] == right[MASK]).mean() > 0.97
        np.testing.assert_allclose(found[STATISTICS], right[STATISTICS], rtol=0.02, atol=0.02)


def test_several_threads_get_the_answers_for_their_own_images(
    backend: Backend, classifier: Bundle
) -> None:
    pictures = [images(1 + index % 2, classifier) + np.uint8(index) for index in range(24)]
    expected = [backend.run(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(backend.run, pictures), expected, strict=True):
            assert np.array_equal(found[MASK], right[MASK])
            assert np.array_equal(found[STATISTICS], right[STATISTICS])


def test_an_answer_is_unchanged_by_the_next_image(backend: Backend, classifier: Bundle) -> None:
    first = backend.run(images(1, classifier))[MASK]
    kept = first.copy()
    backend.run(255 - images(1, classifier))
    assert np.array_equal(first, kept)


def test_it_has_an_identity_and_can_be_closed(backend: Backend, classifier: Bundle) -> None:
    assert backend.name in ('onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx')
    assert any(precision in backend.identity for precision in ('fp32', 'bf16'))
    assert any(character.isdigit() for character in backend.identity)
    backend.run(images(1, classifier))
    for _ in range(2):
        backend.close()
        with pytest.raises(RuntimeError, match='was closed and cannot run; load the bundle again'):
            backend.run(images(1, classifier))


def test_auto_reports_its_choice_and_the_reasons(classifier: Bundle, tmp_path: Path) -> None:
    lines: list[str] = []
    load_backend(classifier, cache_dir=tmp_path, report=lines.append)
    assert lines[-1].startswith(f'Runs {classifier.identity} on ')
    if not find_spec('tensorrt'):
        assert 'tensorrt is not installed' in lines[-1]


def test_auto_is_quiet_if_all_that_is_installed_works(
    classifier: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A GPU that is absent is no failure of TensorRT."""
    load_backend(classifier, cache_dir=tmp_path).close()
    assert not caplog.records


def test_auto_skips_a_backend_without_a_proof(tmp_path: Path) -> None:
    bundle = write_classifier(tmp_path / 'bare', frames=False)
    lines: list[str] = []
    assert load_backend(bundle, cache_dir=tmp_path, report=lines.append).name == 'onnxruntime'
    if find_spec('openvino'):
        assert f'openvino is unverified, and {bundle.identity} has no reference' in lines[-1]
        # With any report of a verification it is loaded, to see whether the report is for it.
        report = tmp_path / 'other-openvino-0' / REPORT
        report.parent.mkdir()
        report.touch()
        load_backend(bundle, cache_dir=tmp_path, report=lines.append)
        assert 'openvino does not work here: OpenVINO' in lines[-1]
        assert 'has no reference frames' in lines[-1]


def test_auto_ends_with_the_reason_of_the_last(tmp_path: Path) -> None:
    bundle = write_classifier(tmp_path / 'custom', custom=True, frames=False)
    with pytest.raises(DgssError, match=r'cannot be loaded by ONNX Runtime.*Sharpen'):
        load_backend(bundle)


@pytest.mark.skipif(Path('/proc/driver/nvidia').exists(), reason='there is an NVIDIA driver')
def test_a_missing_driver_is_one_sentence(classifier: Bundle) -> None:
    pytest.importorskip('tensorrt_rtx', reason='needs pip install tensorrt-rtx cuda-python')
    with pytest.raises(DgssError, match=r'no NVIDIA driver.*backend onnxruntime') as error:
        load_backend(classifier, 'tensorrt_rtx')
    assert str(error.value).count('. ') == 0


@pytest.mark.parametrize(
    ('name', 'package'),
    [
        ('tensorrt', 'tensorrt cuda-python'),
        ('openvino', 'openvino'),
        ('onnxruntime', 'onnxruntime'),
        ('torch:model.safetensors', 'dgss_ros[train]'),
    ],
)
def test_a_missing_library_is_one_sentence(name: str, package: str) -> None:
    """In a process that cannot import the library."""
    if 'cuda' in package:
        pytest.importorskip('cuda', reason='needs pip install cuda-python')
    code = f"""
import sys
sys.modules[{name.partition(':')[0]!r}] = None
from dgss_core.runtime.bundle import open_bundle
from dgss_core.errors import DgssError
from dgss_core.runtime.backends import load_backend
try:
    load_backend(open_bundle(), {name!r})
except DgssError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    library = name.partition(':')[0]
    missing = (f'is not installed (import of {library} halted', f'{name} needs {library};')
    assert any(text in run.stdout for text in missing), run.stderr
    assert f'run pip install {package}.\n' in run.stdout


def test_a_network_without_the_tensors_of_a_bundle_is_refused(classifier: Bundle) -> None:
    wide = replace(classifier, manifest=replace(classifier.manifest, width=32))
    with pytest.raises(DgssError, match='32x48 needs uint8'):
        load_backend(wide, 'onnxruntime')


@pytest.mark.skipif(
    'CUDAExecutionProvider' in onnxruntime.get_available_providers(), reason='it has CUDA'
)
def test_a_provider_that_the_build_lacks_is_not_tried(classifier: Bundle) -> None:
    backend = OnnxRuntimeBackend(classifier, providers=('CUDAExecutionProvider', CPU))
    assert backend.identity.endswith('CPU, fp32')


def test_providers_that_the_build_lacks_are_one_sentence(classifier: Bundle) -> None:
    with pytest.raises(DgssError, match=r'none of the providers Abacus; use one of .*CPUExec'):
        OnnxRuntimeBackend(classifier, providers=('Abacus',))


@pytest.mark.gpu
@pytest.mark.parametrize('name', ['tensorrt', 'tensorrt_rtx'])
def test_an_engine_is_built_kept_and_loaded_again(
    name: str, classifier: Bundle, tmp_path: Path
) -> None:
    pytest.importorskip(name)
    lines: list[str] = []
    load_backend(classifier, name, cache_dir=tmp_path, report=lines.append).close()
    assert any(line.startswith('Building the engine of') for line in lines)
    (entry,) = EngineCache(tmp_path).entries()
    assert (entry.folder / 'verified.json').exists()
    lines.clear()
    start = time.perf_counter()
    backend = load_backend(classifier, name, cache_dir=tmp_path, report=lines.append)
    assert time.perf_counter() - start < 10
    assert not any('Building' in line for line in lines)
    assert isinstance(backend, TimedBackend)
    stages = backend.stages(images(2, classifier))
    assert list(stages) == ['upload', 'network', 'download']
    assert all(seconds > 0 for seconds in stages.values())
    entry.engine.write_bytes(b'damaged')
    load_backend(classifier, name, cache_dir=tmp_path, report=lines.append)
    assert any(line.startswith('Building the engine of') for line in lines)


@pytest.mark.parametrize(
    'name',
    [
        *('auto', 'onnxruntime', 'openvino', 'null', 'null:0', 'null:20'),
        *('torch:a', 'torch:a?compile', 'torch:a?compile+fp16', 'torch:a?bf16', 'torch:a?b?'),
    ],
)
def test_backends_that_exist(name: str) -> None:
    check_backend(name)


@pytest.mark.parametrize(
    'name', ['onnx', '', 'null:', 'null:-1', 'null:1.5', 'null:x', 'null5', 'torch:']
)
def test_unknown_backends_are_named(name: str) -> None:
    with pytest.raises(DgssError, match='use one of auto, onnxruntime'):
        check_backend(name)


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        ('torch:a?foo', "no option 'foo'; use one of compile, fp16, bf16."),
        ('torch:a?compile+fp8', "no option 'fp8'; use one of compile, fp16, bf16."),
        ('torch:a?compile+', "no option ''; use one of compile"),
        ('torch:?compile', 'names no checkpoint; give its path before the options'),
        ('torch:a?fp16+bf16', 'asks for two precisions; give either fp16 or bf16.'),
    ],
)
def test_unknown_options_of_torch_are_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(DgssError, match=re.escape(sentence)):
        check_backend(name)


def test_the_options_of_torch_begin_at_the_last_mark() -> None:
    assert parse_torch('torch:/a/b.safetensors') == ('/a/b.safetensors', False, 'fp32')
    assert parse_torch('torch:a?fp16+compile') == ('a', True, 'fp16')
    assert parse_torch('torch:what?.safetensors?') == ('what?.safetensors', False, 'fp32')


def test_the_null_backend_answers_a_constant_after_its_time(probe_bundle: Bundle) -> None:
    backend = load_backend(probe_bundle, 'null:30')
    images = np.zeros((2, probe_bundle.height, probe_bundle.width, 3), np.uint8)
    start = time.perf_counter()
    outputs = backend.run(images)
    assert time.perf_counter() - start >= 0.03
    assert set(outputs[MASK].flat) == {0}
    assert set(outputs[CONFIDENCE].flat) == {255}
    assert outputs[MASK].shape == outputs[CONFIDENCE].shape == images.shape[:3]
    assert backend.name == backend.identity == 'null:30'
    backend.close()
    with pytest.raises(RuntimeError, match='null:30 was closed'):
        backend.run(images)


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino'])
def test_lanes_answer_as_one_call_does(name: str, tmp_path: Path) -> None:
    if not find_spec(name):
        pytest.skip(f'{name} is absent')
    bundle = open_bundle()
    one, two = (load_backend(bundle, name, lanes=n, cache_dir=tmp_path) for n in (1, 2))
    given = [frame.image[None] for frame in bundle.frames()[:4]]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(two.run, given))
    for image, answer in zip(given, answers, strict=True):
        right = one.run(image)
        assert (answer[MASK] == right[MASK]).mean() > 0.9999
        assert np.abs(answer[CONFIDENCE].astype(int) - right[CONFIDENCE]).max() <= 1
    one.close()
    two.close()
