"""Choose a backend, load the network of a bundle into it and verify the result."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from dgss_core import plugins
from dgss_core.errors import DgssError, without_remedy
from dgss_core.libraries import libraries_for
from dgss_core.runtime.backend import (
    Backend,
    BackendOptions,
    NamingBackend,
    Report,
    silent,
    unexpected,
)
from dgss_core.runtime.backends.names import PREFERRED, check_backend, runs_a_bundle
from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.engines import AbsentError, RefusedError
from dgss_core.runtime.engines.cache import EngineCache
from dgss_core.runtime.engines.proof import (
    higher_precisions,
    is_provable,
    require_proof,
    why_unproven,
)

BUILT_IN = {
    'onnxruntime': 'dgss_core.runtime.backends.onnx_runtime',
    'openvino': 'dgss_core.runtime.backends.open_vino',
    'tensorrt': 'dgss_core.runtime.backends.tensor_rt',
    'tensorrt_rtx': 'dgss_core.runtime.backends.tensor_rt',
    'null': 'dgss_core.runtime.backends.null',
    # In `export`, because it is the only one that needs torch.
    'torch': 'dgss_core.export.torch_backend',
}
"""The module of each backend, imported on first use; its `open_backend` loads a bundle."""

_log = logging.getLogger(__name__)


def load_backend(
    bundle: Bundle,
    name: str = 'auto',
    threads: int = 0,
    *,
    cache_dir: Path | None = None,
    allow_unverified: bool = False,
    report: Report | None = None,
    lanes: int = 1,
) -> Backend:
    """Load the network of `bundle` into the backend `name`; `auto` takes the fastest that works.

    A backend without a proof on this machine is verified first. If its answers are wrong, a higher
    precision from the bundle is tried; after that `auto` tries the next backend.

    `name`: one that `check_backend` accepts. `threads`: CPU threads, 0 for all cores. `cache_dir`:
    folder of engines and proofs, by default `EngineCache`'s. `allow_unverified`: skip the proof.
    `report`: takes lines about the chosen backend, the reason, and the progress of a build; it may
    raise, to stop the loading. Without it, a warning is logged where `auto` left out a backend
    that is installed and fails. `lanes`: calls that run at the same time. Raises DgssError for an
    unknown backend, one that is not installed or does not work here, and a network it cannot run.
    """
    check_backend(name)
    asked = _Asked(
        EngineCache(cache_dir), threads, lanes, allow_unverified, Relay(report or silent)
    )
    left_out: list[str] = []
    failures: list[_Failure] = []
    for candidate in PREFERRED if name == 'auto' else (name,):
        if name == 'auto' and (reason := _why_not_tried(bundle, candidate, asked)):
            left_out.append(reason)
            continue
        try:
            backend = _load_proven(bundle, candidate, asked)
        except Exception as error:  # The libraries share no base of their exceptions.
            if asked.report.has_stopped:
                raise
            failure, is_last = _Failure(candidate, error), candidate in (name, PREFERRED[-1])
            if is_last or not isinstance(error, AbsentError):
                failures.append(failure)
            if is_last:
                raise _refusal(bundle, failures) from error
            # What is absent, such as a GPU, need not be mended.
            why = failure.fault if isinstance(error, AbsentError) else failure.reason
            left_out.append(f'{candidate} does not work here: {why}')
            continue
        reasons = f' ({"; ".join(left_out)})' if left_out else ''
        network = backend.network if isinstance(backend, NamingBackend) else bundle.identity
        line = f'Runs {network} on {backend.identity}{reasons}.'
        asked.report(line)
        if report is None and failures:
            _log.warning(line)
        return backend
    raise AssertionError('the last candidate either works or raises')


class _Failure(NamedTuple):
    """What went wrong with a candidate."""

    candidate: str
    error: Exception

    @property
    def reason(self) -> str:
        if isinstance(self.error, DgssError):
            return str(self.error).rstrip('.')
        return unexpected(self.error)

    @property
    def fault(self) -> str:
        """The reason without its remedy."""
        return without_remedy(self.reason)

    @property
    def remedy(self) -> str:
        error, library = self.error, self.candidate.partition(':')[0]
        if isinstance(error, DgssError):
            return self.reason.rpartition('; ')[2]
        if isinstance(error, ModuleNotFoundError):
            return f'install {error.name}'
        # Of ctypes, for a library that it cannot open, an OSError without a number.
        if isinstance(error, ImportError) or (isinstance(error, OSError) and not error.errno):
            return f'give the process more memory, or install {library} again'
        if isinstance(error, MemoryError):
            return 'give the process more memory, or use a smaller bundle'
        return 'use another backend, or export the bundle again'


def _refusal(bundle: Bundle, failures: Sequence[_Failure]) -> DgssError:
    """The error where nothing is left to try. It tells of every candidate that failed."""
    last = failures[-1]
    if len({failure.reason for failure in failures}) > 1:
        faults = '; '.join(f'{each.candidate}: {each.fault}' for each in failures)
        return DgssError(f'No backend runs {bundle.identity} here ({faults}); {last.remedy}.')
    if isinstance(last.error, DgssError):
        return last.error
    return DgssError(
        f'{last.candidate} cannot run {bundle.identity} ({last.reason}); {last.remedy}.'
    )


def _why_not_tried(bundle: Bundle, candidate: str, asked: _Asked) -> str:
    """Why a candidate cannot work, where that is known without loading it; empty if it may."""
    if candidate == PREFERRED[-1]:
        return ''
    if not find_spec(candidate):
        return f'{candidate} is not installed'
    if not asked.allow_unverified and not is_provable(bundle, candidate, asked.cache):
        return f'{why_unproven(candidate, bundle)}: run dgss engine verify with frames of your own'
    return ''


class Relay:
    """Passes lines on to `report`, and remembers that it raised, which stops the loading."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.has_stopped = False

    def __call__(self, line: str) -> None:
        try:
            self._report(line)
        except BaseException:
            self.has_stopped = True
            raise


class _Asked(NamedTuple):
    """The arguments of `load_backend` that are equal for every candidate."""

    cache: EngineCache
    threads: int
    lanes: int
    allow_unverified: bool
    report: Relay


def _load_proven(bundle: Bundle, name: str, asked: _Asked) -> Backend:
    """Load the first network and precision that pass the proof in this backend."""
    refused: RefusedError | None = None
    report, folder = asked.report, asked.cache.folder
    # The others inside the bundle are of no use to a backend that runs none of its networks.
    higher = higher_precisions(bundle) if runs_a_bundle(name) else ()
    for network in chain([bundle], higher):
        for precision in _precisions(network, name):
            if refused:
                report(f'{without_remedy(str(refused))}. Trying a higher precision.')
            options = BackendOptions(name, precision, asked.threads, folder, report, asked.lanes)
            try:
                if asked.allow_unverified:
                    return _open(network, options)
                # Frames of the outer bundle: their masks come from the fp32 network.
                return _open_proven(network, bundle, options, asked.cache)
            except RefusedError as error:
                refused = error
    assert refused is not None
    raise refused


def _open_proven(
    network: Bundle, outer: Bundle, options: BackendOptions, cache: EngineCache
) -> Backend:
    backend = _open(network, options)
    try:
        require_proof(backend, network, outer, cache, options.report)
        return backend
    except BaseException:
        backend.close()
        raise


def _precisions(bundle: Bundle, name: str) -> list[str]:
    """Run-time precisions to try: the graph's own, and for fp32 in OpenVINO also bf16."""
    if name == 'openvino' and bundle.manifest.precision == 'fp32':
        from dgss_core.runtime.backends import open_vino

        return open_vino.precisions()
    return [bundle.manifest.precision]


def _open(bundle: Bundle, options: BackendOptions) -> Backend:
    """Load one network into a backend without proof; raises as `load_backend` does."""
    kind = options.name.partition(':')[0]
    if kind in BUILT_IN:
        with libraries_for(options.name):
            return import_module(BUILT_IN[kind]).open_backend(bundle, options)
    return plugins.load_plugin(plugins.BACKENDS, kind)(bundle, options)
