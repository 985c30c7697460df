"""Backends: what runs the network of a bundle. One interface, one file per inference library."""

from __future__ import annotations

import re
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from dgss_core import plugins
from dgss_core.errors import DgssError, unknown
from dgss_core.runtime.backend import Backend, BackendOptions, Report
from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.engines import RefusedError
from dgss_core.runtime.engines.cache import EngineCache
from dgss_core.runtime.engines.proof import higher_precisions, require_proof

BUILT_IN = {
    'onnxruntime': 'dgss_core.runtime.backends.onnx_runtime',
    'openvino': 'dgss_core.runtime.backends.open_vino',
    'tensorrt': 'dgss_core.runtime.backends.tensor_rt',
    'tensorrt_rtx': 'dgss_core.runtime.backends.tensor_rt',
    'null': 'dgss_core.runtime.backends.null',
    # With the networks, because it alone needs torch.
    'torch': 'dgss_core.export.torch_backend',
}
"""The module of each backend, imported when it is used; its `open_backend` loads a bundle."""

BACKENDS = ('onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx')
PREFERRED = ('tensorrt', 'tensorrt_rtx', 'openvino', 'onnxruntime')
"""What `auto` tries: the fastest first, and last what runs everywhere."""

SPECIAL = re.compile(r'null(:\d+)?|torch:.+')
"""For benchmarks and comparisons: no network at all, which answers after MILLISECONDS
(`null:20`), and PyTorch with a checkpoint (`torch:PATH`)."""


def check_backend(name: str) -> None:
    """Raise DgssError for a name that `load_backend` does not know."""
    added = plugins.plugins(plugins.BACKENDS)
    names = (*BACKENDS, *added)
    known = name in ('auto', *names) or name.partition(':')[0] in added
    if not known and not SPECIAL.fullmatch(name):
        raise unknown('backend', name, ('auto', *names))


def load_backend(
    bundle: Bundle,
    name: str = 'auto',
    threads: int = 0,
    *,
    cache_dir: Path | None = None,
    allow_unverified: bool = False,
    report: Report | None = None,
) -> Backend:
    """Load the network of `bundle` into the backend `name`; `auto` takes the fastest that works.

    A backend whose answers are not proven on this machine is verified first. Where it is wrong,
    a higher precision that the bundle carries is taken, and then, by `auto`, the next backend.

    `name`: `auto`, one of `BACKENDS`, or `SPECIAL`. `threads`: CPU threads, 0 for all cores.
    `cache_dir`: where engines and proofs are kept, by default `EngineCache`'s folder.
    `allow_unverified`: skip the proof. `report`: takes the lines that say which backend was
    chosen, why, and how far a build is. Raises DgssError for an unknown backend, one that is not
    installed or does not work here, and a network it cannot run.
    """
    check_backend(name)
    cache, report = EngineCache(cache_dir), report or _silent
    left_out: list[str] = []
    for candidate in PREFERRED if name == 'auto' else (name,):
        if name == 'auto' and candidate != PREFERRED[-1] and not find_spec(candidate):
            left_out.append(f'{candidate} is not installed')
            continue
        try:
            backend = _load_proven(bundle, candidate, threads, cache, allow_unverified, report)
        except DgssError as error:
            if candidate in (name, PREFERRED[-1]):
                raise
            left_out.append(f'{candidate} does not work here: {str(error).rstrip(".")}')
            continue
        reasons = f' ({"; ".join(left_out)})' if left_out else ''
        report(f'Runs {bundle.identity} on {backend.identity}{reasons}.')
        return backend
    raise AssertionError('the last candidate either works or raises')


def _load_proven(
    bundle: Bundle,
    name: str,
    threads: int,
    cache: EngineCache,
    allow_unverified: bool,
    report: Report,
) -> Backend:
    """The first network and precision that is proven in this backend."""
    refused: RefusedError | None = None
    for network in chain([bundle], higher_precisions(bundle)):
        for precision in _precisions(network, name):
            if refused:
                report(f'{refused} Trying a higher precision.')
            with ExitStack() as failed:
                try:
                    options = BackendOptions(name, precision, threads, cache.folder, report)
                    backend = _open(network, options)
                    failed.callback(backend.close)
                    if not allow_unverified:
                        # Frames of the outer bundle: their masks come from the fp32 network.
                        require_proof(backend, network, bundle.frames, cache, report)
                    failed.pop_all()
                    return backend
                except RefusedError as error:
                    refused = error
    assert refused is not None
    raise refused


def _precisions(bundle: Bundle, name: str) -> list[str]:
    """What a backend may compute a network in: as it is typed, except for OpenVINO on fp32."""
    if name == 'openvino' and bundle.manifest.precision == 'fp32':
        from dgss_core.runtime.backends import open_vino

        return open_vino.precisions()
    return [bundle.manifest.precision]


def _open(bundle: Bundle, options: BackendOptions) -> Backend:
    """Load one network into a backend, proven or not; raises as `load_backend` does."""
    kind = options.name.partition(':')[0]
    if kind in BUILT_IN:
        return import_module(BUILT_IN[kind]).open_backend(bundle, options)
    return plugins.load_plugin(plugins.BACKENDS, kind)(bundle, options)


def _silent(line: str) -> None:
    """Report to nobody."""
