"""PyTorch in lower precision and compiled: the same masks, the same proof, one compilation."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

import numpy as np
import pytest
import torch
from exported import STREET, street_frames, street_images, street_model, trace_once
from small_systems import DISTINCT, small
from tiny_plugin import add_tiny, save_tiny
from torch._dynamo.utils import counters

from dgss_core.errors import DgssError
from dgss_core.export import export_bundle, torch_backend
from dgss_core.export.network import DeployedNetwork
from dgss_core.export.torch_backend import (
    TorchBackend,
    _key,
    computing_in,
    digest_of_code,
    narrowed,
)
from dgss_core.networks.checkpoint import About, load_checkpoint, save_checkpoint
from dgss_core.networks.systems import SegmentationModel
from dgss_core.runtime.backend import Backend, TimedBackend
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.backends.names import parse_torch
from dgss_core.runtime.backends.onnx_runtime import OnnxRuntimeBackend
from dgss_core.runtime.bundle import CONFIDENCE, MASK, STATISTICS, Bundle
from dgss_core.runtime.engines import RefusedError
from dgss_core.runtime.engines.cache import INDUCTOR, REPORT, EngineCache
from dgss_core.runtime.roofline.chains import PRODUCT, SMALLEST, Chain
from dgss_core.synthetic import StreetDrive

HEIGHT, WIDTH = 32, 48


class Tiny(NamedTuple):
    """A checkpoint, its bundle, and a cache of engines."""

    checkpoint: Path
    bundle: Bundle
    cache: Path

    def load(self, options: str = '', lines: list[str] | None = None) -> Backend:
        report = None if lines is None else lines.append
        name = f'torch:{self.checkpoint}{options}'
        return load_backend(self.bundle, name, 1, cache_dir=self.cache, report=report)


@pytest.fixture(scope='module')
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp('tiny')
    with pytest.MonkeyPatch.context() as patch:
        add_tiny(patch)
        model = save_tiny(folder / 'tiny.safetensors')
        frames = {
            name: [StreetDrive(3, name, width=WIDTH, height=HEIGHT).frame(0).image]
            for name in ('day', 'night')
        }
        about = {'name': 'tiny', 'height': HEIGHT, 'width': WIDTH, 'licence': 'MIT'}
        bundle = export_bundle(model, folder / 'bundle', **about, frames=frames)
        yield Tiny(folder / 'tiny.safetensors', bundle, folder / 'cache')


WHOLE = pytest.mark.slow
"""The whole network takes about a minute of two processors to compile."""


@pytest.fixture(scope='module')
def lines() -> list[str]:
    return []


@pytest.fixture(scope='module')
def compiled(tiny: Tiny, lines: list[str]) -> Backend:
    before = counters['stats']['unique_graphs']
    backend = tiny.load('?compile', lines)
    assert counters['stats']['unique_graphs'] == before + 1  # not again for its proof
    return backend


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)


@WHOLE
def test_a_compiled_network_is_proven_and_keeps_its_kernels(
    tiny: Tiny, compiled: Backend, lines: list[str]
) -> None:
    assert compiled.identity.endswith('CPU, fp32, compiled')
    assert lines[0].startswith(f'Compiling torch:{tiny.checkpoint}?compile@')
    folder = EngineCache(tiny.cache).folder_of(compiled.key)
    assert (folder / REPORT).exists()
    kernels = folder / INDUCTOR
    assert [*kernels.rglob('*.so')]
    assert stat.S_IMODE(kernels.stat().st_mode) == 0o700


@WHOLE
def test_it_answers_as_the_plain_network_does(tiny: Tiny, compiled: Backend) -> None:
    plain = tiny.load()
    assert plain.key is None
    for given in (images(1), images(3)):
        found, right = compiled.run(given), plain.run(given)
        assert list(found) == list(right)
        for name in right:
            assert (found[name].dtype, found[name].shape) == (right[name].dtype, right[name].shape)
        assert (found[MASK] == right[MASK]).mean() >= 0.999
        assert np.abs(found[CONFIDENCE].astype(int) - right[CONFIDENCE]).max() <= 1
        np.testing.assert_allclose(found[STATISTICS], right[STATISTICS], rtol=1e-3, atol=1e-4)


@WHOLE
def test_nothing_is_compiled_after_it_was_loaded(compiled: Backend) -> None:
    """Whatever the number of images and their strides, and in other threads."""
    before = counters['stats']['unique_graphs']
    given = [images(1 + index % 3) for index in range(8)] + [images(1)[0][None]]
    expected = [compiled.run(each)[MASK] for each in given]
    with ThreadPoolExecutor(3) as pool:
        found = [*pool.map(lambda each: compiled.run(each)[MASK], given)]
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))
    assert counters['stats']['unique_graphs'] == before


@WHOLE
def test_the_second_start_takes_the_kernels_of_the_first(tiny: Tiny, compiled: Backend) -> None:
    folder = EngineCache(tiny.cache).folder_of(compiled.key) / INDUCTOR
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*.so')}
    hits = counters['aot_autograd']['autograd_cache_hit']
    expected = compiled.run(images(1))[MASK]
    torch._dynamo.reset()  # as in a new process
    second = tiny.load('?compile')
    assert counters['aot_autograd']['autograd_cache_hit'] == hits + 1
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*.so')} == before
    assert np.array_equal(second.run(images(1))[MASK], expected)
    second.close()
    with pytest.raises(RuntimeError, match='was closed'):
        second.run(images(1))


def test_unused_kernels_are_removed_with_their_proof(tiny: Tiny, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    old = cache.folder_of(_key(tiny.bundle, parse_torch('torch:a?compile'), 'f' * 64))
    (old / INDUCTOR).mkdir(parents=True)
    (old / INDUCTOR / 'kernel.so').write_bytes(b'')
    other = tmp_path / old.name.replace('tiny', 'mine')
    (other / 'photographs').mkdir(parents=True)
    assert cache.prune(1, print) == []
    assert cache.prune(-1, print) == [old]
    assert other.exists()


@pytest.mark.parametrize('options', ['?bf16', '?fp16'])
def test_a_lower_precision_is_proven_by_its_own_gates(tiny: Tiny, options: str) -> None:
    backend = tiny.load(options)
    assert backend.key.precision == backend.precision == options[1:]
    outputs = backend.run(images(2))
    assert outputs[STATISTICS].dtype == np.float32
    assert (EngineCache(tiny.cache).folder_of(backend.key) / REPORT).exists()


def test_another_checkpoint_fails_the_proof(tiny: Tiny, tmp_path: Path) -> None:
    save_tiny(tmp_path / 'other.safetensors', seed=1)
    with pytest.raises(RefusedError, match='are not those of the reference'):
        tiny._replace(checkpoint=tmp_path / 'other.safetensors').load('?bf16')


def test_operators_are_counted(tiny: Tiny) -> None:
    backend = tiny.load()
    assert isinstance(backend, TorchBackend)
    assert 20 < backend.launches(images(1)) < 400


@WHOLE
def test_other_threads_are_refused_beside_a_compiled_network(
    tiny: Tiny, compiled: Backend
) -> None:
    name = f'torch:{tiny.checkpoint}'
    with pytest.raises(DgssError, match=r'is compiled for 1 threads of PyTorch .*, not 2'):
        load_backend(tiny.bundle, name, 2, cache_dir=tiny.cache)
    assert torch.get_num_threads() == 1
    load_backend(tiny.bundle, name, 0, cache_dir=tiny.cache)


def test_threads_are_free_again_when_a_compiled_network_is_closed(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = tiny.load()
    assert isinstance(backend, TorchBackend)
    backend.threads = 1  # as if it was compiled, and no other network is
    monkeypatch.setattr(torch_backend, '_compiled', WeakSet({backend}))
    with pytest.raises(DgssError, match='is compiled for 1 threads'):
        load_backend(tiny.bundle, backend.name, 2)
    backend.close()
    load_backend(tiny.bundle, backend.name, 2)
    assert torch.get_num_threads() == 2
    tiny.load()
    assert torch.get_num_threads() == 1


def test_a_checkpoint_that_is_exchanged_while_it_is_loaded_is_refused(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'model.safetensors'
    path.write_bytes(tiny.checkpoint.read_bytes())

    def load_while_written(given: Path) -> SegmentationModel:
        model = load_checkpoint(given)
        save_tiny(path, seed=1)
        return model

    monkeypatch.setattr(torch_backend, 'load_checkpoint', load_while_written)
    with pytest.raises(DgssError, match='changed while it was loaded; load it'):
        tiny._replace(checkpoint=path).load()


def test_other_code_needs_another_proof(tiny: Tiny, tmp_path: Path) -> None:
    key = _key(tiny.bundle, parse_torch('torch:a?bf16'), 'f' * 64)
    assert key is not None
    assert digest_of_code() in key.options
    digests = []
    for content in ('x = 1', 'x = 2'):
        for file in ('networks/heads/a.py', 'export/a.py', 'training/styles.py'):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(content)
            digest_of_code.cache_clear()
            digests.append(digest_of_code(tmp_path))
    assert len({*digests}) == 6
    (tmp_path / 'training' / 'loop.py').write_text('')
    digest_of_code.cache_clear()
    assert digest_of_code(tmp_path) == digests[-1]


@pytest.mark.parametrize('name', DISTINCT)
def test_every_system_runs_in_narrow_layers(name: str) -> None:
    network = narrowed(DeployedNetwork(small(name)).eval(), torch.bfloat16)
    pictures = torch.randint(0, 256, (1, 48, 64, 3), dtype=torch.uint8)
    with computing_in('cpu', torch.bfloat16):
        outputs = network(pictures)
    assert outputs.mask.shape == (1, 48, 64)
    assert outputs.statistics.isfinite().all()


def test_chains_run_in_torch() -> None:
    from dgss_core.export.torch_clock import TorchClock

    assert 1e-8 < TorchClock().seconds_per_node(Chain(PRODUCT, 'fp32', SMALLEST)) < 1e-2
    with pytest.raises(DgssError, match='CPU in PyTorch has no TF32'):
        TorchClock().seconds_per_node(Chain(PRODUCT, 'tf32', SMALLEST))


def test_the_checkpoint_answers_as_its_bundle_does(
    tmp_path: Path, export_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace_once(monkeypatch, export_root)
    stacked = street_images()
    torch.set_num_threads(1)
    model = street_model()
    path = tmp_path / 'model.safetensors'
    save_checkpoint(model, path, About('dgss-mobilenetv2', {'width': 16}, 'test', '0' * 64, 'MIT'))
    about = {'name': 'small', 'licence': 'MIT', 'frames': street_frames(), **STREET}
    bundle = export_bundle(model, tmp_path / 'bundle', **about)
    backend = load_backend(bundle, f'torch:{path}')
    assert 'PyTorch' in backend.identity
    assert not isinstance(backend, TimedBackend)
    found, right = (each.run(stacked) for each in (backend, OnnxRuntimeBackend(bundle)))
    assert list(found) == list(right)
    sure = right[CONFIDENCE] >= 128
    assert (found[MASK] == right[MASK])[sure].mean() >= 0.9999
    backend.close()
    with pytest.raises(RuntimeError, match='was closed'):
        backend.run(stacked)
    with pytest.raises(DgssError, match='There is no checkpoint'):
        load_backend(bundle, f'torch:{tmp_path / "absent.safetensors"}')
