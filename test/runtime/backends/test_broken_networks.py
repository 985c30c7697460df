"""A network that is not that of a bundle ends in one sentence, and `auto` goes on."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from probe import HEIGHT, WIDTH, manifest_of
from small_networks import write_classifier

from dgss_core.errors import DgssError
from dgss_core.runtime.backends import load_backend, loading
from dgss_core.runtime.bundle import CONFIDENCE, INPUT, MASK, Bundle
from dgss_core.runtime.bundle.writing import write_bundle

OPENVINO = pytest.mark.skipif(not find_spec('openvino'), reason='needs pip install openvino')
BACKENDS = ['onnxruntime', pytest.param('openvino', marks=OPENVINO)]
UINT8, FLOAT = TensorProto.UINT8, TensorProto.FLOAT


def write(
    folder: Path,
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    rows: int = HEIGHT,
    outputs: tuple[str, ...] = (MASK, CONFIDENCE),
    inputs: tuple[str, ...] = (INPUT,),
    kind: int = UINT8,
    merged: bool = False,
) -> Bundle:
    """A bundle of 48x64 whose network has other tensors.

    `height`, `width`: of its input. `rows`: of its outputs. `kind`: type of its outputs. `merged`:
    a last node that does nothing, which OpenVINO merges with the one before it.
    """
    node, constant = helper.make_node, helper.make_tensor
    info = helper.make_tensor_value_info
    nodes = [node('Gather', [inputs[0], 'green'], ['plane'], axis=3)]
    for name in outputs:
        last = f'{name}_float' if merged else name
        nodes += [
            node('Slice', ['plane', 'start', 'rows', 'axis'], [f'{name}_rows']),
            node('Cast', [f'{name}_rows'], [last], to=FLOAT if merged else kind),
        ]
        if merged:
            nodes += [
                node('Cast', [last], [f'{name}_byte'], to=kind),
                node('Mul', [f'{name}_byte', 'unit'], [name]),
            ]
    constants = [
        constant('green', TensorProto.INT64, [], [1]),
        constant('unit', kind, [], [1]),
        *(
            constant(name, TensorProto.INT64, [1], [value])
            for name, value in (('start', 0), ('rows', rows), ('axis', 1))
        ),
    ]
    graph = helper.make_graph(
        nodes,
        'other',
        [info(name, UINT8, ['batch', height, width, 3]) for name in inputs],
        [info(name, kind, ['batch', min(rows, height), width]) for name in outputs],
        constants,
    )
    opsets = [helper.make_opsetid('', 18)]
    path = folder.with_suffix('.onnx')
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    )
    return write_bundle(folder, path, manifest_of('other'))


WRONG = {
    'no confidence': {'outputs': (MASK,)},
    'no mask': {'outputs': (CONFIDENCE,)},
    'fewer rows': {'rows': 10},
    'another height': {'height': 96, 'rows': 96},
    'another width': {'width': 32},
    'another type': {'kind': FLOAT},
    'another input': {'inputs': ('picture',)},
    'a second input': {'inputs': (INPUT, 'more')},
}


@pytest.mark.parametrize('backend', [*BACKENDS, 'auto'])
@pytest.mark.parametrize('kind', WRONG)
def test_other_tensors_are_one_sentence(tmp_path: Path, backend: str, kind: str) -> None:
    bundle = write(tmp_path / 'other', **WRONG[kind])
    with pytest.raises(DgssError) as error:
        load_backend(bundle, backend, cache_dir=tmp_path / 'cache', allow_unverified=True)
    assert 'a bundle of 64x48 needs uint8' in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('backend', [*BACKENDS, 'auto'])
def test_a_name_that_is_not_utf8_is_one_sentence(tmp_path: Path, backend: str) -> None:
    bundle = write(tmp_path / 'other', outputs=(MASK, CONFIDENCE, 'badname'))
    data = bundle.onnx_path.read_bytes().replace(b'badname', b'bad\xffame')
    path = tmp_path / 'name.onnx'
    path.write_bytes(data)
    bundle = write_bundle(tmp_path / 'name', path, bundle.manifest)
    with pytest.raises(DgssError) as error:
        load_backend(bundle, backend, cache_dir=tmp_path / 'cache', allow_unverified=True)
    assert '\n' not in str(error.value)


@OPENVINO
def test_outputs_that_openvino_merges_keep_their_names(tmp_path: Path) -> None:
    bundle = write(tmp_path / 'merged', merged=True)
    images = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
    answers = [
        load_backend(bundle, name, cache_dir=tmp_path / 'cache', allow_unverified=True).run(images)
        for name in ('onnxruntime', 'openvino')
    ]
    for found in answers:
        assert {name: (a.dtype, a.shape) for name, a in found.items()} == {
            name: (np.uint8, (2, HEIGHT, WIDTH)) for name in (MASK, CONFIDENCE)
        }
        assert np.array_equal(found[MASK], images[..., 1])


@OPENVINO
def test_a_process_has_one_core_of_openvino(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_classifier(tmp_path / 'small')
    options = {'cache_dir': tmp_path / 'cache', 'allow_unverified': True}
    load_backend(bundle, 'openvino', **options).close()
    monkeypatch.setattr('openvino.Core', None)
    load_backend(bundle, 'openvino', **options).close()


@OPENVINO
def test_without_its_plugin_openvino_is_left_out(tmp_path: Path) -> None:
    """The address space ends before the plugin for the processor fits into it."""
    bundle = write_classifier(tmp_path / 'small')
    code = f"""
from pathlib import Path
import openvino, onnxruntime
from dgss_core.runtime.backends import load_backend, loading
from dgss_core.runtime.bundle import open_bundle
from dgss_core.errors import DgssError
import resource
bundle = open_bundle({str(bundle.folder)!r})
pages = int(open('/proc/self/statm').read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (48 << 20),) * 2)
options = {{'cache_dir': Path({str(tmp_path / 'cache')!r}), 'threads': 1, 'report': print}}
print('runs', load_backend(bundle, **options).name)
load_backend(bundle, **options | {{'report': None}})
try:
    load_backend(bundle, 'openvino', **options)
except DgssError as error:
    print('refused', error)
"""
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert 'openvino does not work here: OpenVINO' in run.stdout, run.stdout + run.stderr
    assert 'runs onnxruntime' in run.stdout
    assert 'refused OpenVINO' in run.stdout
    # Nobody takes the lines of the second load: a warning tells.
    assert 'openvino does not work here: OpenVINO' in run.stderr


@OPENVINO
def test_without_room_for_any_library_all_reasons_are_told() -> None:
    """The address space ends before any of them."""
    code = """
from dgss_core.runtime.backends import load_backend, loading
from dgss_core.runtime.bundle import open_bundle
from dgss_core.errors import DgssError
import resource
bundle = open_bundle()
pages = int(open('/proc/self/statm').read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (4 << 20),) * 2)
try:
    load_backend(bundle)
except DgssError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert run.stdout.startswith('No backend runs street-mobilenetv2@'), run.stdout + run.stderr
    for reason in ('openvino: OpenVINO is installed and cannot be loaded', 'onnxruntime: Import'):
        assert reason in run.stdout
    assert run.stdout.endswith('; give the process more memory, or install onnxruntime again.\n')


@OPENVINO
@pytest.mark.parametrize('error', [KeyError('mask'), MemoryError(), RecursionError('deep')])
def test_auto_goes_on_whatever_the_exception(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    opened = loading._open

    def broken(bundle: Bundle, options: loading.BackendOptions) -> object:
        if options.name == 'openvino':
            raise error
        return opened(bundle, options)

    monkeypatch.setattr(loading, '_open', broken)
    bundle, lines = write_classifier(tmp_path / 'small'), []
    options = {'cache_dir': tmp_path / 'cache', 'report': lines.append}
    assert load_backend(bundle, **options).name == 'onnxruntime'
    assert f'openvino does not work here: {type(error).__name__}' in lines[-1]
    assert not caplog.records
    load_backend(bundle, cache_dir=tmp_path / 'cache')
    assert caplog.messages == [lines[-1]]
    with pytest.raises(DgssError, match=f'openvino cannot run small@.*{type(error).__name__}'):
        load_backend(bundle, 'openvino', **options)


def test_whoever_takes_the_lines_can_stop_the_loading(tmp_path: Path) -> None:
    """The node does, when it is told to end; `auto` must not take that for a broken backend."""

    def stop(line: str) -> None:
        raise StopIteration(line)

    bundle = write_classifier(tmp_path / 'small')
    for name in ('auto', 'onnxruntime'):
        with pytest.raises(StopIteration, match='Runs small@'):
            load_backend(bundle, name, cache_dir=tmp_path / 'cache', report=stop)
