"""Which tests can run on this machine, and what they share.

`DGSS_SHARED` names a folder with recorded outputs, weights and drives that may not be committed;
`DGSS_DATA` the drives alone. Tests that need them skip without them.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib.util
import logging
import os
import signal
import subprocess
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from importlib.machinery import PathFinder
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

if TYPE_CHECKING:
    from canary import Canary

    from dgss_core.runtime.bundle import Bundle

# One thread per test process: several that spin for the same cores wait for each other.
os.environ.setdefault('OMP_NUM_THREADS', '1')
# PyTorch believes the CPU, instead of compiling a program for each of its sets of instructions.
os.environ.setdefault('TORCHINDUCTOR_VEC_ISA_OK', '1')

# Nearly all objects of a test run are those of its libraries, and they stay: to look through them
# takes a tenth of the time.
gc.set_threshold(50_000, 20, 20)

# The plugin of launch, which pytest loads first, makes every later logger hide what it tells.
logging.setLoggerClass(logging.Logger)

# A shell starts background jobs with SIGINT ignored, and every process under test inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# nohup does the same with SIGHUP.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

SHARED = os.environ.get('DGSS_SHARED', '')

LONGEST = (
    'runtime/engines/test_engine_systems.py',
    'export/test_export_systems.py',
    'training',
    'export',
    'networks',
)
"""Files and folders that run first, so that no process has much left when the others are done."""
WAITING = ('ros/demo', 'ros/bench', 'evaluation/test_fleet_ray.py', 'ros')
"""Files and folders whose tests wait more than they compute: they run beside the others."""

OPTIONAL = {
    *('accelerate', 'av', 'diffusers', 'huggingface_hub', 'hypothesis', 'jsonargparse'),
    *('lightning_fabric', 'mcap', 'onnx', 'pi_heif'),
    *('onnxscript', 'open_clip', 'rosbags', 'safetensors', 'scipy', 'tensorboard', 'timm'),
    *('torch', 'torchvision', 'transformers'),
}
"""What a ROS 2 workspace need not have: package.xml does not name it, or has no key for it."""


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder with recorded outputs, drives and weights that are not part of this project."""
    if not SHARED:
        pytest.skip('DGSS_SHARED is not set: the folder with data that may not be committed')
    if not Path(SHARED).is_dir():
        pytest.skip(f'DGSS_SHARED names {SHARED}, which is no folder')
    return Path(SHARED)


@pytest.fixture
def probe_bundle(tmp_path: Path) -> Bundle:
    """A bundle whose network is known: mask = red // 16, confidence = green."""
    from probe import write_probe_bundle

    from dgss_core.runtime.bundle import open_bundle

    return open_bundle(write_probe_bundle(tmp_path / 'probe'))


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Canary:
    """A module that no document may import."""
    from canary import Canary

    return Canary(tmp_path / 'canary', monkeypatch)


@pytest.fixture(scope='session', autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Engines and proofs of the tests, and of what they start, stay out of the user's cache."""
    os.environ['XDG_CACHE_HOME'] = str(tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='session')
def export_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of one run of the tests share, for what takes long to make."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if base.name.startswith('popen-') else base) / 'exported'
    root.mkdir(exist_ok=True)
    return root


class OptionalFile(pytest.Module):
    """A test file that skips where it needs a package of `OPTIONAL` that is not installed."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        try:
            return super().collect()
        except self.CollectError as error:
            if not (reason := _missing_optional(error)):
                raise
            pytest.skip(reason, allow_module_level=True)


def _missing_optional(error: BaseException | None) -> str:
    """Why a test skips that ended with `error`, or with what it caused; empty if it does not."""
    for each in (error, getattr(error, '__cause__', None)):
        module = (each.name if isinstance(each, ModuleNotFoundError) else None) or ''
        top = module.partition('.')[0]
        # Not `find_spec`, which takes a module that a test hides for missing.
        if top in OPTIONAL and PathFinder.find_spec(top) is None:
            return f'needs {module}, which make test installs'
    return ''


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """A test or fixture that imports a missing package of `OPTIONAL` skips, or whose verb does."""
    outcome = yield
    report = outcome.get_result()
    if call.excinfo is not None and (reason := _missing_optional(call.excinfo.value)):
        report.outcome = 'skipped'
        report.longrepr = (str(item.path), 0, reason)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    return OptionalFile.from_parent(parent, path=module_path)


def pytest_unconfigure() -> None:
    """Look for garbage once: pytest does it five times at its end."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--slow', action='store_true', help='run tests that take over a minute too')


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Show where a library crashes: rclpy sends that to the captured output, which gets lost."""
    stderr = item.config.stash.get(fault_handler_stderr_fd_key, None)
    if stderr is not None:
        faulthandler.enable(stderr)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Tell how a test process ended that was not told to, and what memory was left."""
    if error is None:
        return
    process = node.gateway._io.popen
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    memory = Path('/proc/meminfo').read_text().splitlines()[2]
    print(f'\n{node.gateway.id} ended with the code {process.returncode}; {memory}', flush=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {
        'slow': None if config.getoption('--slow') else 'takes over a minute; run with --slow',
        'gpu': None if _has_gpu() else 'needs an NVIDIA GPU',
        'ros': _missing('rclpy', 'needs rclpy: source ROS 2, or pip install dgss_ros[ros]'),
        'ros_apt': _missing('launch_ros', 'needs a ROS 2 installation with launch_ros'),
    }
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
    turns = _turns(dict.fromkeys(item.path for item in items))
    items.sort(key=lambda item: turns[item.path])


def _turns(files: Collection[Path]) -> dict[Path, int]:
    """The turn of each file: one of `WAITING`, one of the others, until one kind is done."""
    folder = Path(__file__).parent

    def place(file: Path, names: tuple[str, ...]) -> int:
        within = (i for i, name in enumerate(names) if file.is_relative_to(folder / name))
        return next(within, len(names))

    waiting = [file for file in files if place(file, WAITING) < len(WAITING)]
    others = [file for file in files if file not in waiting]
    waiting.sort(key=lambda file: place(file, WAITING))
    others.sort(key=lambda file: place(file, LONGEST))
    by_turns = chain.from_iterable(zip_longest(others, waiting))
    return {file: turn for turn, file in enumerate(by_turns) if file is not None}


def _missing(module: str, reason: str) -> str | None:
    return None if importlib.util.find_spec(module) else reason


def _has_gpu() -> bool:
    return Path('/proc/driver/nvidia/version').exists() or Path('/dev/nvhost-gpu').exists()
