"""Real TensorRT-RTX engines, built ahead of time, which needs no GPU."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('tensorrt_rtx', reason='needs pip install tensorrt-rtx cuda-python')
from probe import HEIGHT, WIDTH
from small_networks import write_classifier

from dgss_core.errors import DgssError
from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.bundle.writing import write_bundle
from dgss_core.runtime.engines import RefusedError
from dgss_core.runtime.engines.build import build_engine, engine_key, import_flavour, make_logger
from dgss_core.runtime.engines.progress import every
from dgss_core.runtime.key import Device

TRT = import_flavour('tensorrt_rtx')


@pytest.fixture(scope='module')
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_classifier(tmp_path_factory.mktemp('build') / 'classifier', frames=False)


def test_an_engine_is_built_for_named_gpus_without_one(bundle: Bundle) -> None:
    engine = build_engine(TRT, bundle, ['8.6', '8.9'])
    # A full check needs a driver; TensorRT-RTX at least recognises its own file.
    runtime = TRT.Runtime(make_logger(TRT))
    malformed = int(TRT.EngineInvalidityDiagnostics.MALFORMED_ENGINE)
    assert runtime.get_engine_validity(b'junk' * 1000)[1] & malformed
    assert not runtime.get_engine_validity(engine)[1] & malformed


def test_an_unknown_compute_capability_is_refused(bundle: Bundle) -> None:
    with pytest.raises(DgssError, match=r"capability '9.9'; use 7.5, 8.0"):
        build_engine(TRT, bundle, ['8.9', '9.9'])


def test_an_unsupported_operator_is_named_with_its_node(tmp_path: Path) -> None:
    bundle = write_classifier(tmp_path / 'custom', custom=True, frames=False)
    with pytest.raises(DgssError, match="operator Sharpen of the node 'sharpener'") as error:
        build_engine(TRT, bundle)
    assert 'onnxruntime' in str(error.value)


def test_a_file_that_is_no_network_is_one_sentence(bundle: Bundle, tmp_path: Path) -> None:
    junk = tmp_path / 'junk.onnx'
    junk.write_bytes(b'not a network')
    with pytest.raises(DgssError, match='cannot be loaded by any backend, because it is no ONNX'):
        build_engine(TRT, write_bundle(tmp_path / 'junk', junk, bundle.manifest))


def test_too_little_memory_is_one_sentence(bundle: Bundle) -> None:
    """In a separate process with an address space a few MB above its present size."""
    code = """
import resource
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.engines.build import build_engine, import_flavour
from dgss_core.errors import DgssError
trt, bundle = import_flavour('tensorrt_rtx'), open_bundle()
pages = int(open('/proc/self/statm').read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (8 << 20),) * 2)
try:
    build_engine(trt, bundle)
except DgssError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert 'ran out of memory while it built an engine for' in result.stdout, result.stderr


def test_progress_is_reported_during_the_build(tmp_path: Path) -> None:
    bundle = write_classifier(tmp_path / 'wide', frames=False, channels=512)
    states: list[tuple[str, float]] = []
    build_engine(TRT, bundle, ['8.9'], progress=lambda *state: states.append(state))
    assert states
    assert all(phase and 0 <= fraction <= 1 for phase, fraction in states)


def test_an_exception_in_the_build_thread_reaches_the_caller(bundle: Bundle) -> None:
    class Broken(TRT.Builder):
        def build_serialized_network(self, *_: object) -> None:
            raise BufferError('the builder is gone')

    package = SimpleNamespace(**vars(TRT) | {'Builder': Broken})
    with pytest.raises(RefusedError, match='BufferError: the builder is gone') as error:
        build_engine(package, bundle, ['8.9'])
    assert isinstance(error.value.__cause__, BufferError)


def test_lines_are_no_more_frequent_than_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lines = 0.0, []
    monkeypatch.setattr('dgss_core.runtime.engines.progress.time.monotonic', lambda: now)
    progress = every(5, lines.append)
    for now in (1.0, 4.9, 5.0, 5.1, 9.9, 12.0, 13.0, 17.0):  # noqa: B007
        progress('Timing tactics', 0.5)
    assert lines == [
        f'Building the engine: {seconds} s, Timing tactics 50%.' for seconds in (5, 12, 17)
    ]


def test_the_key_covers_everything_the_engine_depends_on(bundle: Bundle) -> None:
    key = engine_key(TRT, bundle, Device('RTX', '8.9', '580'))
    assert key.network == bundle.fingerprint
    assert (key.backend, key.version) == ('tensorrt_rtx', TRT.__version__)
    assert key.shapes == f'1..4x{HEIGHT}x{WIDTH}'
    assert 'no TF32' in key.options
    half = replace(bundle, manifest=replace(bundle.manifest, precision='fp16'))
    assert 'TF32' not in engine_key(TRT, half, Device('RTX', '8.9')).options
