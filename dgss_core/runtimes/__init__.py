"""Backends: what runs the network of a bundle. One interface, one file per inference library."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dgss_core.bundle import Bundle
from dgss_core.engines import RefusedError
from dgss_core.engines.cache import EngineCache
from dgss_core.engines.key import EngineKey
from dgss_core.engines.proof import higher_precisions, require_proof
from dgss_core.errors import DgssError

Report = Callable[[str], Any]
"""Takes one line of progress or explanation, as `print` and a logger do."""

BACKENDS = ('onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx')
PREFERRED = ('tensorrt', 'tensorrt_rtx', 'openvino', 'onnxruntime')
"""What `auto` tries: the fastest first, and last what runs everywhere."""

SPECIAL = re.compile(r'null(:\d+)?|torch:.+')
"""For benchmarks and comparisons: no network at all, which answers after MILLISECONDS
(`null:20`), and PyTorch with a checkpoint (`torch:PATH`)."""


class Backend(Protocol):
    """A loaded network.

    `name`: as given to `load_backend`. `identity`: one line for logs and diagnostics, with the
    library, its version, the device and the precision. `key`: what its answers depend on, under
    which their proof is kept; None for a reference, which needs none. `sha256`: of the engine.
    """

    name: str
    identity: str
    sha256: str

    @property
    def key(self) -> EngineKey | None: ...

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Segment RGB images, uint8 (N, H, W, 3) at the bundle's network size.

        Returns every output of the network by its tensor name: the mask and the confidence, both
        uint8 (N, H, W), and what else `dgss_core.bundle` names, where the network offers it. May
        be called from several threads at once.
        """
        ...

    def close(self) -> None:
        """Free the network and its memory; the backend cannot be used afterwards."""
        ...


def check_backend(name: str) -> None:
    """Raise DgssError for a name that `load_backend` does not know."""
    if name != 'auto' and name not in BACKENDS and not SPECIAL.fullmatch(name):
        raise DgssError(f'There is no backend {name!r}; use auto or one of {", ".join(BACKENDS)}.')


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
                    backend = _open(network, name, precision, threads, cache, report)
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
        from dgss_core.runtimes import open_vino

        return open_vino.precisions()
    return [bundle.manifest.precision]


def _open(
    bundle: Bundle, name: str, precision: str, threads: int, cache: EngineCache, report: Report
) -> Backend:
    """Load one network into the backend `name`, proven or not; raises as `load_backend` does."""
    kind = name.partition(':')[0]
    if kind == 'null':
        from dgss_core.runtimes.null import NullBackend

        return NullBackend(name)
    if kind == 'torch':
        from dgss_core.runtimes.torch_reference import TorchBackend

        return TorchBackend(bundle, name)
    if kind == 'onnxruntime':
        from dgss_core.runtimes.onnx_runtime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(bundle, threads, report=report)
    if kind == 'openvino':
        from dgss_core.runtimes.open_vino import OpenVinoBackend

        return OpenVinoBackend(bundle, precision, threads)
    from dgss_core.runtimes.tensor_rt import TensorRtBackend

    return TensorRtBackend(bundle, name, cache, report)


def _silent(line: str) -> None:
    """Report to nobody."""
