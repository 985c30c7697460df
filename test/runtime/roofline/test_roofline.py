"""What bounds a network, with rates that are really measured on the CPU of this machine."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import onnxruntime as ort
import pytest
from small_networks import write_classifier

from dgss_core.commands import bench_roof
from dgss_core.commands.bench_roof import Rooflines, clock_of
from dgss_core.commands.bench_tables import explained
from dgss_core.errors import DgssError
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.backends.onnx_runtime import CPU
from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.roofline import (
    Layer,
    Machine,
    Roof,
    chains,
    measure_cpu,
    nodes_of,
    onnx_clock,
)
from dgss_core.runtime.roofline.chains import COPY, PRODUCT, SMALLEST, Chain, measure
from dgss_core.runtime.roofline.child import run_module
from dgss_core.runtime.roofline.machine import ARITHMETIC, LAUNCHES, NOTHING, TRAFFIC
from dgss_core.runtime.roofline.onnx_clock import OnnxClock, chain_network, values
from dgss_core.runtime.roofline.onnx_file import FLOAT, INT8, Node, network

INT64 = 7
WITHOUT_CUDA = pytest.mark.skipif(
    'CUDAExecutionProvider' in ort.get_available_providers(), reason='it has CUDA'
)


@pytest.fixture(scope='module')
def machine() -> Machine:
    """In time of the processor: other programs do not add to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, 'time', SimpleNamespace(perf_counter=time.thread_time))
        return measure(OnnxClock(CPU, threads=1))


CHAINS = {
    LAUNCHES: (Chain(PRODUCT, 'fp32', 4, 400), Layer(2 * 4**3, 3 * 4**2)),
    ARITHMETIC: (Chain(PRODUCT, 'fp32', 256, 8), Layer(2 * 256**3, 3 * 256**2)),
    TRAFFIC: (Chain(COPY, 'fp32', 1 << 22, 2), Layer(0, 2 << 22)),
}
"""By what bounds them: many tiny nodes, some large products, two large copies."""


def least_seconds(chain: Chain) -> float:
    """Of a call of the whole chain, as a program would run it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = chain_network(chain, chain.length)
    session = ort.InferenceSession(content, options, providers=[CPU])
    given = {'x': values(session.get_inputs()[0].shape)}
    wanted, best = [session.get_outputs()[0].name], float('inf')
    for _ in range(30):
        start = time.thread_time()
        session.run(wanted, given)
        best = min(best, time.thread_time() - start)
    return best


@pytest.mark.parametrize('expected', CHAINS)
def test_a_network_is_bound_by_what_takes_its_time(machine: Machine, expected: str) -> None:
    chain, layer = CHAINS[expected]
    roof = Roof.of([layer] * chain.length, machine, 'fp32', nodes=chain.length)
    assert roof.limit(least_seconds(chain)) == expected


def test_a_time_that_nothing_explains_is_bound_by_nothing(machine: Machine) -> None:
    roof = Roof.of([Layer(2 * 512**3, 3 * 512**2)], machine, 'fp32', nodes=1)
    assert roof.limit(roof.seconds * 1.5) == ARITHMETIC
    assert roof.limit(roof.seconds * 3) == NOTHING


def test_measured_rates_are_plausible(machine: Machine) -> None:
    cpu = measure_cpu(threads=1)
    assert 1e8 < cpu.copy < 1e13
    assert 1e8 < cpu.gemm['fp32'] < 1e14
    assert cpu.launch is None
    assert 0.1 < machine.gemm['fp32'] / cpu.gemm['fp32'] < 10
    assert 0.1 < machine.copy / cpu.copy < 10
    assert 1e-8 < machine.launch < 1e-3
    assert 'tf32' not in machine.gemm


def test_a_layer_is_bound_by_the_slower_of_memory_and_arithmetic() -> None:
    machine = Machine('it', copy=10, gemm={'fp32': 100, 'fp16': 200})
    assert Roof.of([Layer(operations=200, elements=1)], machine).seconds == 2
    two = [Layer(operations=1, elements=30), Layer(200, 1)]
    assert Roof.of(two, machine).seconds == 14
    assert Roof.of(two, machine, 'fp16').seconds == 7
    assert Roof.of([Layer(1, 1)], machine, nodes=5).launches is None
    with pytest.raises(DgssError, match='rate of it in int8 could not be measured'):
        Roof.of([Layer(1, 1)], machine, 'int8')


def test_the_networks_of_chains_are_valid_onnx() -> None:
    onnx = pytest.importorskip('onnx')
    products = [Chain(PRODUCT, name, 16) for name in ('fp32', 'fp16', 'bf16', 'int8')]
    for chain in (*products, Chain(COPY, 'fp32', 300)):
        model = onnx.load_from_string(chain_network(chain, 3))
        onnx.checker.check_model(model, full_check=True)
        operators = [node.op_type for node in model.graph.node]
        assert sum(each in ('Neg', 'MatMul', 'MatMulInteger') for each in operators) == 3
    nodes = [Node('QuantizeLinear', ('x', 'scale', 'zero'), 'y')]
    content = network(nodes, ('x', [4]), [('y', INT8, [4])], {'scale': 0.5, 'zero': -3})
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    scale, zero = map(onnx.numpy_helper.to_array, model.graph.initializer)
    assert (scale, zero, scale.dtype, zero.dtype) == (0.5, -3, 'float32', 'int8')
    assert model.graph.input[0].type.tensor_type.elem_type == FLOAT


def test_a_precision_that_fails_when_it_runs_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """In fp16 it asks for a row that is not there, which ONNX Runtime sees only in the call."""
    whole = chain_network

    def broken(chain: Chain, length: int) -> bytes:
        if chain.precision != 'fp16':
            return whole(chain, length)
        nodes = [Node('Cast', ('row',), 'r', INT64), Node('Gather', ('x', 'r'), 'y')]
        return network(nodes, ('x', [chain.side] * 2), [('y', FLOAT, [chain.side])], {'row': 127})

    monkeypatch.setattr(onnx_clock, 'chain_network', broken)
    chain = Chain(PRODUCT, 'fp16', SMALLEST)
    with pytest.raises(DgssError, match=r'cannot multiply matrices in fp16 \(.*127'):
        OnnxClock(CPU, threads=1).seconds_per_node(chain)
    monkeypatch.setattr(chains, 'REPEATS_S', 0.01)
    monkeypatch.setattr(chains, 'PRODUCT_SIDES', (64, 64))
    found = measure(OnnxClock(CPU, threads=1))
    assert 'fp32' in found.gemm
    assert 'fp16' not in found.gemm


def test_nodes_are_counted_after_optimisation(probe_bundle: Bundle) -> None:
    count = nodes_of(probe_bundle, 1, CPU, {})
    assert 1 <= count <= 20
    assert nodes_of(probe_bundle, 3, CPU, {}) == count


@pytest.mark.parametrize(('computes_in', 'said'), [('fp32', 'a cache'), ('bf16', 'in bf16')])
def test_a_share_above_one_has_its_reason(
    computes_in: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_classifier(tmp_path / 'classifier')
    backend = load_backend(bundle, 'onnxruntime')
    monkeypatch.setattr(backend, 'precision', computes_in)
    roof = Rooflines(1, 1).of(backend, bundle, None, 1e-9)
    assert roof['share'] > 1
    assert said in explained(roof).rpartition('. ')[2]


class OnAGpu:
    """A backend of which only the place is known."""

    device, precision, key, sha256 = 'GPU', 'fp16', None, ''

    def __init__(self, name: str) -> None:
        self.name = self.identity = name

    def run(self, images: object) -> dict:
        return {}

    def close(self) -> None: ...


@WITHOUT_CUDA
@pytest.mark.parametrize('name', ['onnxruntime', 'somebody'])
def test_a_gpu_is_never_compared_with_the_cpu(name: str, probe_bundle: Bundle) -> None:
    """Also where its own rates cannot be measured."""
    roof = Rooflines(1, 1).of(OnAGpu(name), probe_bundle, None, 0.01)
    assert list(roof) == ['reason']
    assert explained(roof).startswith('No roof, because ')


@WITHOUT_CUDA
def test_a_measurement_that_failed_is_not_repeated(
    probe_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(bench_roof, 'clock_of', lambda kind: asked.append(kind) or clock_of(kind))
    rooflines = Rooflines(1, 1)
    for _ in range(2):
        for kind in ('onnxruntime', 'somebody'):
            assert 'reason' in rooflines.of(OnAGpu(kind), probe_bundle, None, 0.01)
    assert asked == ['onnxruntime', 'somebody']


def test_a_mistake_of_ours_is_no_missing_roof(
    probe_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> Machine:
        raise KeyError('ours')

    monkeypatch.setattr(bench_roof, 'measure', mistaken)
    monkeypatch.setattr(bench_roof, 'clock_of', lambda _: None)
    with pytest.raises(KeyError, match='ours'):
        Rooflines(1, 1).of(OnAGpu('onnxruntime'), probe_bundle, None, 0.01)


def test_a_module_that_nobody_installed_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench_roof.CLOCKS, 'onnxruntime', ('dgss_core.absent', 'Clock', ()))
    with pytest.raises(DgssError, match='measures a GPU with onnxruntime is not installed'):
        clock_of('onnxruntime')


def test_nothing_in_the_working_folder_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('numpy', 'json', 'runpy'):
        (tmp_path / f'{name}.py').write_text('raise SystemExit(3)')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', ['', *sys.path])
    danger = subprocess.run([sys.executable, '-m', 'json'], capture_output=True)
    assert danger.returncode == 3
    assert measure_cpu(threads=1).gemm['fp32'] > 1e8
    result = run_module('dgss_core.runtime.roofline.cpu_rates', 'many')
    assert result.returncode == 1
    assert 'RuntimeWarning' not in result.stderr
    assert "invalid literal for int() with base 10: 'many'" in result.stderr


@WITHOUT_CUDA
def test_a_clock_never_falls_back_to_the_cpu() -> None:
    with pytest.raises(DgssError, match=r'has no CUDAExecutionProvider; install a build'):
        measure(clock_of('onnxruntime'))


def test_a_backend_without_a_network_has_no_roof(probe_bundle: Bundle) -> None:
    backend = load_backend(probe_bundle, 'null:5')
    roof = Rooflines(1, 1).of(backend, probe_bundle, None, 0.005)
    assert roof == {'reason': 'null:5 does not say what it computes on'}


def test_the_engines_of_chains_are_built_ahead_of_time() -> None:
    """No GPU is needed: TensorRT-RTX builds for a compute capability."""
    trt = pytest.importorskip('tensorrt_rtx', reason='needs pip install tensorrt-rtx')
    pytest.importorskip('cuda.bindings', reason='needs pip install cuda-python')
    from dgss_core.runtime.engines.build import make_logger
    from dgss_core.runtime.roofline.tensorrt_clock import build_chain

    for precision in ('fp32', 'tf32', 'fp16', 'bf16', 'int8'):
        chain = Chain(PRODUCT, precision, SMALLEST, 3)
        engine = build_chain(trt, make_logger(trt), chain, ('8.9',))
        assert len(engine) > 1000


@pytest.mark.gpu
@pytest.mark.parametrize('kind', ['onnxruntime', 'tensorrt', 'tensorrt_rtx', 'torch'])
def test_the_rates_of_a_gpu(kind: str) -> None:
    try:
        found = measure(clock_of(kind))
    except (DgssError, ImportError) as error:
        pytest.skip(str(error))
    assert found.copy > 1e10
    assert found.gemm['fp16'] > found.gemm['fp32'] > 1e11
    assert 1e-7 < found.launch < 1e-3
