"""From an ONNX network to a TensorRT engine, for TensorRT 10, 11 and TensorRT-RTX.

The three packages share one Python API. The network is strongly typed, which TensorRT 11 requires:
the graph holds the precision, and the builder only chooses kernels.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import unusable_library
from dgss_core.runtime.bundle import INPUT, Bundle
from dgss_core.runtime.engines import RefusedError
from dgss_core.runtime.key import Device, EngineKey

FLAVOURS = {'tensorrt': 'TensorRT', 'tensorrt_rtx': 'TensorRT-RTX'}
"""Product names by import name, which is also the name of the backend."""

MAX_BATCH = 4
"""Images in one call of an engine; more are run in parts. GPU memory grows with it."""

BuildProgress = Callable[[str, float], Any]
"""Takes the phase of a build and its fraction done (0 to 1), at least once a second."""


def import_flavour(name: str) -> ModuleType:
    """Import `tensorrt` or `tensorrt_rtx`. Raises DgssError if that fails."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        packages = f'{name.replace("_", "-")} cuda-python'
        raise unusable_library(FLAVOURS[name], packages, error) from error


def make_logger(trt: Any, keep: int = 8) -> Any:
    """A logger for TensorRT that prints nothing and keeps the last errors in `errors`."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors = [*self.errors, ' '.join(message.split())][-keep:]

    return Logger()


def engine_key(trt: ModuleType, bundle: Bundle, device: Device) -> EngineKey:
    """The key of an engine of `bundle` for `device`."""
    return EngineKey.of(
        bundle,
        device,
        backend=trt.__name__,
        version=trt.__version__,
        batch=f'1..{MAX_BATCH}',
        options='strongly typed' + ('' if _allows_tf32(bundle) else ', no TF32'),
    )


def build_engine(
    trt: ModuleType,
    bundle: Bundle,
    capabilities: Sequence[str] = (),
    progress: BuildProgress | None = None,
) -> bytes:
    """Compile the network of `bundle` with the imported package `trt`.

    `capabilities`: compute capabilities to build for ahead of time, such as '8.9'; by default
    those of the GPU in this machine. Raises DgssError for an operator that TensorRT lacks (named,
    with its node) and for too little memory, RefusedError for any other failure.
    """
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    # TensorRT 11 types every network strongly, and may remove the flag.
    typed = getattr(trt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED', None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, logger)
    _parse(trt, parser, bundle)
    config = _configure(trt, builder, bundle, capabilities)
    state = _BuildState()
    config.progress_monitor = _monitor(trt, state)
    built = _in_thread(lambda: builder.build_serialized_network(network, config), state, progress)
    error = built.exception()
    engine = None if error else built.result()
    if engine is None:
        errors = [*logger.errors, *([f'{type(error).__name__}: {error}'] if error else [])]
        _check_memory(trt, bundle, errors)
        raise _build_failure(trt, bundle, errors) from error
    return bytes(engine)


def _in_thread(
    build: Callable[[], Any], state: _BuildState, progress: BuildProgress | None
) -> Future[Any]:
    """Call `build` in a thread, so that this one can report progress and be interrupted."""
    built: Future[Any] = Future()

    def work() -> None:
        try:
            built.set_result(build())
        except BaseException as error:
            built.set_exception(error)

    worker = threading.Thread(target=work, name='engine build', daemon=True)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(0.5)
            if progress:
                progress(*state.now())
    finally:
        state.stopped = True
        worker.join()
    return built


def _parse(trt: ModuleType, parser: Any, bundle: Bundle) -> None:
    with bundle.checked_network() as path:
        is_parsed = parser.parse_from_file(str(path))
    if not is_parsed:
        _check_memory(trt, bundle, [parser.get_error(i).desc() for i in range(parser.num_errors)])
        raise DgssError(_parse_failure(trt, parser, bundle))


def _configure(trt: ModuleType, builder: Any, bundle: Bundle, capabilities: Sequence[str]) -> Any:
    config = builder.create_builder_config()
    if not _allows_tf32(bundle):
        config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    image = (bundle.height, bundle.width, 3)
    profile.set_shape(INPUT, (1, *image), (1, *image), (MAX_BATCH, *image))
    config.add_optimization_profile(profile)
    set_capabilities(trt, config, capabilities)
    return config


def known_capabilities(trt: ModuleType) -> dict[str, Any]:
    """Compute capabilities that `trt` can build for ahead of time; none for TensorRT itself."""
    members = getattr(getattr(trt, 'ComputeCapability', None), '__members__', {})
    known = {f'{name[2:-1]}.{name[-1]}': value for name, value in members.items() if 'SM' in name}
    return dict(sorted(known.items(), key=lambda item: float(item[0])))


def _allows_tf32(bundle: Bundle) -> bool:
    """TF32 keeps ten bits of a factor: too few for fp32, and harmless for the other types."""
    return bundle.manifest.precision != 'fp32'


def set_capabilities(trt: ModuleType, config: Any, capabilities: Sequence[str]) -> None:
    """Let `config` build for `capabilities`, by default for the GPU of this machine.

    Raises DgssError for one that `trt` cannot build for ahead of time.
    """
    known = known_capabilities(trt)
    if unknown := [name for name in capabilities if name not in known]:
        offers = f'use {", ".join(known)}' if known else 'build where the GPU is'
        raise DgssError(
            f'{FLAVOURS[trt.__name__]} {trt.__version__} cannot build ahead of time for the '
            f'compute capability {unknown[0]!r}; {offers}.'
        )
    if capabilities:
        config.num_compute_capabilities = len(capabilities)
    for index, name in enumerate(capabilities):
        config.set_compute_capability(known[name], index)


@dataclass
class _BuildState:
    """The phases of a build, with steps done and in total; TensorRT nests them."""

    phases: dict[str, tuple[int, int]] = field(default_factory=dict)
    stopped: bool = False

    def now(self) -> tuple[str, float]:
        """The innermost phase, and its fraction done."""
        # A copy, because the builder's thread changes the phases.
        phase, (done, total) = [('starting', (0, 1)), *list(self.phases.items())][-1]
        return phase, done / max(total, 1)


def _monitor(trt: Any, state: _BuildState) -> Any:
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            state.phases[phase_name] = (0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in state.phases:
                state.phases[phase_name] = (step + 1, state.phases[phase_name][1])
            return not state.stopped

        def phase_finish(self, phase_name: str) -> None:
            state.phases.pop(phase_name, None)

    return Monitor()


def _parse_failure(trt: ModuleType, parser: Any, bundle: Bundle) -> str:
    library = f'{FLAVOURS[trt.__name__]} {trt.__version__}'
    advice = 'run it with the backend onnxruntime, or export the bundle again.'
    if not parser.num_errors:
        return f'{bundle.onnx_path} cannot be parsed by {library}; {advice}'
    error = parser.get_error(0)
    reason = ' '.join(error.desc().split()).rstrip('.')
    if not error.node_operator():
        return f'{bundle.onnx_path} cannot be parsed by {library} ({reason}); {advice}'
    return (
        f'{library} cannot run the operator {error.node_operator()} of the node '
        f'{error.node_name() or error.node()!r} in {bundle.onnx_path} ({reason}); {advice}'
    )


def _check_memory(trt: ModuleType, bundle: Bundle, errors: Sequence[str]) -> None:
    text = ' '.join(errors).lower()
    if any(words in text for words in ('out of memory', 'outofmemory', 'bad_alloc')):
        raise DgssError(
            f'{FLAVOURS[trt.__name__]} {trt.__version__} ran out of memory while it built an '
            f'engine for {bundle.identity}; free memory on this machine and its GPU, or build '
            'where there is more.'
        )


def _build_failure(trt: ModuleType, bundle: Bundle, errors: Sequence[str]) -> DgssError:
    library = f'{FLAVOURS[trt.__name__]} {trt.__version__}'
    text = ' '.join(errors)
    if 'insufficient' in text or 'no CUDA-capable device' in text:
        return DgssError(
            f'{library} needs an NVIDIA GPU and its driver to build this engine '
            f'({errors[-1]}); install the driver, or use the backend onnxruntime.'
        )
    reason = errors[0].rstrip('.') if errors else 'it gives no reason'
    return RefusedError(
        f'{library} could not build an engine for {bundle.identity} ({reason}); use the backend '
        'onnxruntime, or a bundle of another precision.'
    )
